"""Files written whole or not at all, files of the user's cache, plain YAML, and what is fetched from object stores.

Imports only `gan_core.config`, and no torch. All files are written by `whole_files`, results that are computed once for
a machine are kept by `cache`, and all YAML files of users are read by `plain_yaml`. `object_store` alone speaks to
object stores, whose `addresses` are texts; `fetched` brings their files into the cache. `own_code` imports a person's
own code, and `read_files` says which files it has read.
"""
