"""The keys of what a step of training answers to Tune, besides its own: by them a process and the driver understand
each other. Each answer has `done`: whether the Tune trial has ended.
"""

GIVEN_BACK = "given_back"  # its cohort was not trained to its end, and is to be elsewhere
ENDING = "ending"  # the line that a person is told when it ends the sweep
PLACE = "place"  # beside it: whether the cause would have hit any configuration
NODE, HOST, WHY = "node", "host", "why"  # beside it, where this node has never come to train: its id, its name, why
