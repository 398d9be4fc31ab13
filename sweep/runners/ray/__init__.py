"""Runs cohorts as trials of Ray Tune. This is the only package that imports Ray, and it uses Ray's public API alone.

`runner.run_ray` is the driver. It connects by `cluster`, which starts or finds Ray, and watches the `head`. Tune asks
its `searcher`, behind which `processes` decides how many are to train; each is a `trainable`, whose `trainer` takes
cohorts of the study, an actor (`study_actor`), and trains them.
"""
