"""What a person types: a module a command, with its ABOUT, its arguments, and `execute`."""
