"""A search space as a table."""

import re

import pytest

from search_spaces.describe import WIDTH, describe_space
from search_spaces.range_parsing import parse_range
from search_spaces.space import SearchSpace, shipped_spaces

SPACE = {
    "name": "mine",
    "about": "All that a table can show.",
    "source": "A. Author 2018, a paper whose title is so long that it does not fit a line, section 4; code: params.py",
    "base": {"lane.beta1": 0.5},
    "ranges": {
        "structure.loss": {"choices": ["non_saturating", "hinge", "least_squares"]},
        "lane.generator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "lane.discriminator_lr": {"ratio_to": "lane.generator_lr", "low": 0.1, "high": 10, "log": True},
        "lane.beta2": {"complement": True, "low": 0.001, "high": 0.1, "log": True},
        "lane.instance_noise": {"low": 0.0, "high": 0.5, "when": {"structure.loss": ["hinge", "least_squares"]}},
    },
    "constraints": ["lane.discriminator_lr >= 0.5 * lane.generator_lr", "lane.beta1 < lane.beta2"],
}


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_the_table_shows_value_range_condition_constraints_and_source():
    text = describe_space(SearchSpace.load(SPACE))
    lines = text.splitlines()
    assert lines[0] == "mine: All that a table can show."
    assert lines[1].split() == ["hyperparameter", "trial", "0", "range"]
    assert line_of(text, "lane.generator_lr").split(maxsplit=2) == ["lane.generator_lr", "0.0002", "1e-05 .. 0.01 log"]
    assert line_of(text, "lane.discriminator_lr").endswith("  0.1 .. 10 log x lane.generator_lr")
    assert line_of(text, "lane.beta2").endswith("  1 - (0.001 .. 0.1 log)")
    assert line_of(text, "lane.beta1").split() == ["lane.beta1", "0.5"]
    noise = lines.index(line_of(text, "lane.instance_noise "))
    assert lines[noise].endswith("0 .. 0.5")
    assert lines[noise + 1].strip() == "when structure.loss is hinge or least_squares"
    assert lines[noise + 1].index("when") == lines[1].index("range") == lines[noise].index("0 .. 0.5")
    assert lines[-4:-2] == [
        "constraint: lane.discriminator_lr >= 0.5 * lane.generator_lr",
        "constraint: lane.beta1 < lane.beta2",
    ]
    assert " ".join(lines[-2:]) == f"source: {SPACE['source']}"


@pytest.mark.parametrize("name", [*shipped_spaces(), "mine"])
def test_a_table_is_at_most_a_hundred_characters_wide(name):
    text = describe_space(SearchSpace.load(SPACE if name == "mine" else name))
    assert max(map(len, text.splitlines())) <= WIDTH == 100
    assert not re.search(r" $", text, re.MULTILINE)
    assert "\nseed" not in text


@pytest.mark.parametrize(
    ("name", "written", "text", "condition"),
    [
        ("lane.beta1", {"low": 0.0, "high": 0.8, "step": 0.2}, "0 .. 0.8 step 0.2", ""),
        (
            "lane.discriminator_lr",
            {"ratio_to": "lane.generator_lr", "choices": [1, 3]},
            "(1.0 | 3.0) x lane.generator_lr",
            "",
        ),
        ("lane.discriminator_lr", {"ratio_to": "lane.generator_lr", "choices": [2]}, "2 x lane.generator_lr", ""),
        ("lane.beta2", {"complement": True, "choices": [0.1, 0.01]}, "1 - (0.1 | 0.01)", ""),
        (
            "lane.beta1",
            {"choices": [0.0, 0.5], "when": {"structure.loss": "hinge", "lane.discriminator_steps": [1, 2]}},
            "0.0 | 0.5",
            "when structure.loss is hinge and lane.discriminator_steps is 1 or 2",
        ),
    ],
)
def test_a_range_reads_as_a_person_would_write_it(name, written, text, condition):
    scope = parse_range(name, written)
    assert str(scope) == text
    assert scope.condition == condition


def test_averages_that_every_trial_keeps_stand_in_the_table():
    text = describe_space(SearchSpace.load({"ranges": {"lane.ema_half_life_images": {"every": [0, 2000]}}}))
    words = line_of(text, "lane.ema_half_life_images").split(maxsplit=2)
    assert words[1:] == ["0.0", "0.0 and 2000.0, all in every trial"]
