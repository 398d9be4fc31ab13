"""What a person types: the command line, one module a command."""
