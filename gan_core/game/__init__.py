"""The game between generator and discriminator: losses, penalties, and the arithmetic of one training step.

It imports `config`, `lanes` and `networks`. `losses` and `penalties` are functions by name, each with the equation that
it implements; `step` puts them together.
"""
