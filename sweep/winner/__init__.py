"""What is done with a finished run: the final training, samples, and the check that the first rung comes out again."""
