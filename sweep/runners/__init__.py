"""Where cohorts run: in this process, or as trials of Ray Tune; and what a person sees while they do."""
