"""What a GAN is and what is reported of one, as plain values: hyperparameters with their ranges and which of them go
together, schedules, names of data sets, thresholds of health, the conditions of a sweep, the reports of a lane.

Imports nothing of the other packages, and neither torch nor numpy. `GanConfig` is one configuration, `Conditions` is
what a whole sweep shares, `LaneReport` is what is known of a lane at a rung, and `InputError` is what all of them
raise.
"""
