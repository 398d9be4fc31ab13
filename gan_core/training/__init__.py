"""Trains an array of GANs: its state, what lanes are fed, the ways of carrying out steps, Adam, and what is watched.

It may import all packages before it. `lane_array.LaneArray` is what others use, and `checkpoint` keeps its state in
files. `steps` has one class for each way of carrying out the steps of a `chunk`.
"""
