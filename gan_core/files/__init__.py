"""Files of every kind that is not data: written whole or not at all, kept in the user's cache, read as plain YAML.

Imports `gan_core.config` alone, and no torch. `whole_files` is the one way a file is written, `cache` says where
what is made once is kept, and `plain_yaml` reads every YAML file of a person.
"""
