"""Every figure has an analysis of its name with the same arguments, and is found in the package itself."""

import inspect

import pytest

import results.plots
from results.table import ResultsTable


def test_a_figure_has_the_name_and_the_arguments_of_an_analysis():
    assert "save" in results.plots.__all__
    for name in results.plots.__all__:
        figure = getattr(results.plots, name)
        assert figure.__module__.startswith("results.plots."), name
        if name != "save":
            table, *arguments = inspect.signature(figure).parameters.values()
            assert table.annotation is ResultsTable, name
            _, *given = inspect.signature(getattr(ResultsTable, name)).parameters.values()
            assert [(a.name, a.default) for a in arguments] == [(a.name, a.default) for a in given], name


def test_an_unknown_figure_is_no_attribute():
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        _ = results.plots.absent
