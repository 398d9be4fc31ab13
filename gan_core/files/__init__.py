"""Files other than data: written completely or not at all, kept in the user's cache, or read as plain YAML.

Imports only `gan_core.config`, and no torch. All files are written by `whole_files`, results that are computed once for
a machine are kept by `cache`, and all YAML files of users are read by `plain_yaml`.
"""
