"""The interface for sweeps and final trainings: scored arrays, the training of one model, estimates of memory.

`workshop.Workshop` builds scored arrays, `one_model.train_model` trains a single model, and `memory.lane_memory`
estimates what an array needs before it is built. This package may import every other package of `gan_core`.
"""
