"""What a sweep and a final training use: arrays with their scores, one model trained to its end, estimates of memory.

Imports all packages before it. `workshop.Workshop` builds scored arrays, `one_model` trains a single model, `memory`
says what an array needs before it is built.
"""
