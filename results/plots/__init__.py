"""Figures of a run (Plotly), one function for each analysis of `ResultsTable`, by the same name and with the same
arguments: `results.plots.curves(table, "score")` draws `table.curves("score")`. `style.save` writes a figure.
"""
