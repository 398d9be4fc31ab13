"""Runs cohorts as trials of Ray Tune. This is the only package that imports Ray, and it uses Ray's public API alone.

`runner.run_ray` is the driver. It connects by `cluster`, which starts or finds Ray, and watches the `head`; its
`searcher` asks the study, an actor (`study_actor`), for cohorts; `trainable` trains one in a process of Ray.
"""
