"""The arguments of `gan-sweep run`: a file, a shipped space and options; and `--version`."""

from pathlib import Path

import pytest
import yaml
from tiny_runs import TINY, settings

from gan_core.config.version import code_version
from search_spaces.space import SearchSpace

pytestmark = pytest.mark.usefixtures("untimed")


def planned(answer) -> dict:
    """The spec that a dry run prints."""
    assert answer.code == 0, answer.err
    return yaml.safe_load(answer.out.partition("\n\n")[0].rpartition("\nresources:")[0])


def test_the_version_is_that_of_the_package_and_its_core(gan_sweep):
    answer = gan_sweep("--version")
    assert (answer.code, answer.out) == (0, f"gan-sweep {code_version()}\n")


@pytest.mark.parametrize(
    "arguments", [["mlp_minimax"], ["--space", "mlp_minimax"], ["--set", "space=mlp_minimax"]], ids=" ".join
)
def test_a_shipped_space_is_run_by_its_name(gan_sweep, arguments):
    spec = planned(gan_sweep("run", *arguments, "--trials", "1e2", "--seed", "7", "--dry-run"))
    assert (spec["name"], spec["trials"], spec["seed"]) == ("mlp_minimax", 100, 7)
    assert spec["space"] == SearchSpace.load("mlp_minimax").plain()


def test_where_a_file_and_a_shipped_space_have_the_same_name_it_is_said_which_is_read(gan_sweep):
    Path("mlp_minimax").mkdir()
    answer = gan_sweep("run", "mlp_minimax", "--dry-run")
    assert (planned(answer)["space"]["name"], answer.err) == ("mlp_minimax", "")  # a folder is no spec
    Path("mlp_minimax").rmdir()
    Path("mlp_minimax").write_text("{space: gaussian, trials: 3}")
    answer = gan_sweep("run", "mlp_minimax", "--dry-run")
    assert (planned(answer)["space"]["name"], planned(answer)["trials"]) == ("gaussian", 3)
    said = "mlp_minimax is read as the file of that name; for the shipped space: --space mlp_minimax"
    assert answer.err == f"gan-sweep: warning: {said}\n"
    spec = planned(gan_sweep("run", "mlp_minimax", "--space", "ring", "--dry-run"))
    assert (spec["space"]["name"], spec["trials"], spec["name"]) == ("ring", 3, "mlp_minimax")


def test_what_is_neither_a_file_nor_a_space_is_answered_with_the_nearest_space(gan_sweep):
    answer = gan_sweep("run", "mpl")
    assert (answer.code, answer.err) == (2, "gan-sweep: 'mpl' is no file and no shipped space; did you mean 'mlp'?\n")


@pytest.mark.parametrize("arguments", [["x" * 5000], ["run", "--" + "x" * 5000], ["run", "--trials", "x" * 5000]])
def test_a_long_argument_is_shortened_in_what_is_said_of_it(gan_sweep, arguments):
    answer = gan_sweep(*arguments)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert len(answer.err) < 500


def test_options_go_before_what_is_set_and_keep_every_character(gan_sweep):
    typed = ["--set", "name=b", "--name", "a\\b #c: d", "--data-root", "/e #f: g", "--dry-run"]
    spec = planned(gan_sweep("run", *typed))
    assert (spec["name"], spec["data_root"]) == ("a\\b #c: d", "/e #f: g")


def test_a_quiet_run_prints_what_came_of_it_alone(gan_sweep):
    answer = gan_sweep("run", "--local", "--quiet", *settings(*TINY, "trials=2"))
    assert (answer.code, answer.err) == (0, "")
    assert "done" not in answer.out
    assert "loading" not in answer.out
    assert "no trial keeps the limits; nearest: trial " in answer.out  # after 512 images
    assert gan_sweep("run", "--local", "--quiet", *settings(*TINY, "trials=2")).out.startswith(
        "runs/digits is finished"
    )
