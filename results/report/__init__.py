"""A run, or several, as one HTML file that a person can send: `page.report` makes it of its parts,
each of which has a module. The template, the style and the scripts lie beside them.
"""
