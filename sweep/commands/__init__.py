"""The command line `gan-sweep`: one module per command, with `add_arguments`, `execute` and its help text.

`cli.main` parses the arguments and runs a command. Packages that are slow to load are imported when a command needs
them. This package may import every other package of the project.
"""
