"""A run in an object store: the driver's folder is copied there while the sweep goes on, and taken from there again.

`placed_run.stored` is what a sweep uses. `mirror` copies, and decides in which order; `copier` does so in a thread, and
what happens where the store does not answer; `lease` keeps a second driver out; `growing` cuts files that only grow
into pieces; `local_files` says what of the folder is copied. The form of what is stored is that of
`results.manifest`, because a table is read without this package. Imports `results`, `gan_core.files` and
`sweep.ledger.endings`.
"""
