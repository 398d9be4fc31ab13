"""An array of GANs in training: its state, what lanes are fed, Adam, what is watched, and the steps themselves.

Imports all packages before it, but not `fidelity`. `lane_array.LaneArray` is what others use; `checkpoint` is how it
is kept.
"""
