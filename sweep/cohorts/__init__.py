"""One cohort's way up the ladder: it trains arrays to a rung, asks the study, and goes on with the lanes that may."""
