"""The game of two networks: losses, penalties, and the arithmetic of one step, equation beside function.

Imports `config`, `lanes` and `networks`. `losses` and `penalties` are functions by name, `step` puts them together.
"""
