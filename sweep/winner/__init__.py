"""What follows a sweep: training the final model, drawing samples, and verifying an exported configuration.

`final_training.train_final`, `sampling.of_model` and `sampling.of_trial`, and `verify.verify_first_rung` do these. This
package loads torch.
"""
