"""Constraints: comparisons of hyperparameters that are parsed without evaluating anything, and their violations."""

import math
import operator

import numpy as np
import pytest
from inline_spaces import inline

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from search_spaces.constraints import CLOSE, parse_constraint
from search_spaces.space import SearchSpace

BASE = GanConfig().flatten()
SIGNS = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}


def amount(text: str, **lane_or_structure) -> float:
    changed = {name.replace("__", "."): value for name, value in lane_or_structure.items()}
    return parse_constraint(text).violation({**BASE, **changed})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("lane.discriminator_lr >= lane.generator_lr", True),
        ("lane.discriminator_lr > lane.generator_lr", False),
        ("structure.discriminator_width <= 2 * structure.generator_width", True),
        ("structure.discriminator_width * 2 <= structure.generator_width", False),
        ("lane.beta1 + lane.beta2 < 1.9", True),
        ("lane.beta1 - lane.beta2 < -0.5", False),
        ("structure.batch_size / 2 == 32", True),
        ("structure.batch_size / 2 == 2 ** 5", None),
        ("-(lane.beta1 + 1) * 2 < 0 * lane.beta2", True),
        ("100 * (lane.beta2 - lane.beta1) > 9", True),
        ("lane.generator_lr*3 == 6e-4", True),
        ("structure.loss != 'hinge'", True),
        ('structure.loss == "hinge"', False),
        ("'mlp' == structure.architecture", True),
        ("structure.dataset != 'images:a folder'", True),
        ("data_seed < 1", True),
    ],
)
def test_a_constraint_holds_as_it_reads(text, holds):
    if holds is None:
        with pytest.raises(InputError, match="which is no number, dotted name, sum, product or quotient"):
            parse_constraint(text)
    else:
        assert (amount(text) == 0) == holds


def test_constraints_agree_with_python_over_random_numbers():
    """Python's arithmetic is the oracle, with dots replaced by underscores; each comparison occurs true and false."""
    generator = np.random.default_rng(0)
    names = ("lane.beta1", "lane.beta2", "lane.penalty_weight", "structure.batch_size")
    terms = ("{0} + {1} * 2", "({0} - {1}) / 4", "-{0} * {1}", "{0}", "3.5", "{1} / ({0} + 0.5)")
    seen = set()
    for _ in range(2000):
        pair = generator.choice(names, 2, replace=False)
        left, right = (str(term).format(*pair) for term in generator.choice(terms, 2, replace=False))
        sign = str(generator.choice(list(SIGNS)))
        if not any(name in left + right for name in names):
            continue
        values = {**BASE, **{name: float(generator.integers(0, 4)) for name in names}}
        flat = {name.replace(".", "_"): value for name, value in values.items()}
        found = parse_constraint(f"{left} {sign} {right}").violation(values)
        sides = (eval(side.replace(".b", "_b").replace(".p", "_p"), {}, flat) for side in (left, right))
        assert (found == 0) == SIGNS[sign](*sides)
        assert 0 <= found <= 2
        seen.add((sign, found == 0))
    assert len(seen) == 2 * len(SIGNS)


def test_the_amount_is_the_difference_relative_to_the_larger_side():
    assert amount("lane.beta1 <= 0.6") == pytest.approx(0.3 / 0.9)
    assert amount("lane.beta1 >= 3.6") == pytest.approx(2.7 / 3.6)
    assert amount("lane.generator_lr < 1e-4") == pytest.approx(0.5)
    assert amount("structure.batch_size == 128") == pytest.approx(0.5)
    assert amount("-1 * lane.beta1 >= lane.beta1") == 2.0
    assert amount("lane.beta1 > lane.beta1") == CLOSE
    assert amount("lane.beta1 != 0.9") == 1.0
    assert amount("structure.loss == 'hinge'") == 1.0
    assert amount("0 * lane.beta1 < 0") == CLOSE


def test_the_amount_falls_as_a_configuration_comes_nearer():
    amounts = [amount("lane.beta1 <= 0.1", lane__beta1=value) for value in (0.9, 0.5, 0.2, 0.11, 0.1, 0.0)]
    assert amounts == sorted(amounts, reverse=True)
    assert amounts[3] > 0
    assert amounts[4:] == [0, 0]


def test_rounding_breaks_no_constraint_and_satisfies_no_strict_one():
    """0.1 + 0.2 is 0.30000000000000004."""
    values = {"lane__beta1": 0.1 + 0.2, "lane__beta2": 0.3}
    for sign in ("<=", ">=", "=="):
        assert amount(f"lane.beta1 {sign} lane.beta2", **values) == 0
    for sign in ("<", ">"):
        assert amount(f"lane.beta1 {sign} lane.beta2", **values) == CLOSE
    assert amount("lane.beta1 != lane.beta2", **values) == 1


def test_what_cannot_be_computed_is_broken():
    for sign in SIGNS:
        assert amount(f"lane.generator_lr / lane.instance_noise {sign} 1") == 1
    assert amount("1e299 * 1e299 * lane.beta1 >= 1") == 1
    assert amount("lane.generator_lr / lane.instance_noise <= 1", lane__instance_noise=0.5) == 0


BAD_CONSTRAINTS = {
    "no text": (3, ["must be a text", "got 3"]),
    "too long": ("lane.beta1 < 1" + " + 1" * 60, ["up to 200 characters"]),
    "backslash": ("structure.loss == 'hin\\x67e'", ["must be a text"]),
    "no comparison": ("lane.beta1 + 1", ["not one comparison", "write one comparison"]),
    "two comparisons": ("0 < lane.beta1 < 1", ["not one comparison"]),
    "both of two": ("lane.beta1 < 1 and lane.beta2 < 1", ["not one comparison"]),
    "membership": ("structure.loss in 'hinge'", ["not one comparison"]),
    "identity": ("lane.beta1 is 3", ["not one comparison"]),
    "an assignment": ("lane.beta1 = 3", ["cannot be read", "write one comparison"]),
    "nonsense": ("lane.beta1 <", ["cannot be read"]),
    "nothing": ("", ["cannot be read"]),
    "a zero byte": ("lane.beta1 < \0", ["cannot be read"]),
    "parentheses": ("(" * 199, ["cannot be read"]),
    "misspelt": (
        "lane.generator_rl < 1",
        ["unknown hyperparameter 'lane.generator_rl'", "did you mean 'lane.generator_lr'"],
    ),
    "without its group": ("beta1 < 1", ["unknown hyperparameter 'beta1'", "lane.beta1"]),
    "too deep": ("lane.beta1.real < 1", ["unknown hyperparameter 'lane.beta1.real'", "lane.beta1"]),
    "the seed": ("seed < 5", ["cannot ask for the seed"]),
    "no name": ("1 < 2", ["names no hyperparameter"]),
    "a call": ("abs(lane.beta1) < 1", ["'abs(lane.beta1)'", "no number"]),
    "a call that does harm": ("__import__('os').system('touch trap') == 0", ["no number"]),
    "an index": ("lane['beta1'] < 1", ["no number"]),
    "a power": ("lane.beta1 ** 9 < 1", ["'lane.beta1 ** 9'"]),
    "a rest": ("structure.batch_size % 2 == 0", ["'structure.batch_size % 2'"]),
    "a truth": ("lane.beta1 < True", ["'True'"]),
    "an imaginary": ("lane.beta1 < 1j", ["'1j'"]),
    "without end": ("lane.beta1 < 1e400", ["no number"]),
    "an order of texts": ("structure.loss < 'hinge'", ["compares what is no number", "quoted value"]),
    "a text and a number": ("structure.loss == 3", ["compares what is no number"]),
    "a number and a text": ("lane.beta1 == 'high'", ["compares what is no number"]),
    "two texts": ("'a' == 'b'", ["compares what is no number"]),
    "two names of texts": ("structure.loss == structure.architecture", ["compares what is no number"]),
    "an unknown value": ("structure.loss != 'hing'", ["structure.loss must be one of", "'hing'"]),
    "computing with a text": ("structure.loss + 1 < 2", ["computes with structure.loss"]),
    "a text in a sum": ("lane.beta1 + 'x' < 2", ["\"'x'\""]),
}


@pytest.mark.parametrize(("text", "says"), BAD_CONSTRAINTS.values(), ids=BAD_CONSTRAINTS)
def test_what_is_no_constraint_is_refused_with_the_rule_and_the_text(text, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        parse_constraint(text)
    message = str(refused.value)
    assert "\n" not in message
    assert [fragment for fragment in says if fragment not in message] == []
    assert list(tmp_path.iterdir()) == []


def test_a_space_says_which_constraints_a_configuration_breaks_and_by_how_much():
    texts = [
        "lane.discriminator_lr >= lane.generator_lr",
        "structure.discriminator_width <= 2 * structure.generator_width",
        "structure.loss != 'hinge'",
    ]
    space = inline(constraints=texts, ranges={"structure.generator_width": {"low": 16, "high": 256}})
    assert space.violations(space.base) == {}
    narrow = space.configuration({"structure.generator_width": 96}, seed=4)
    assert space.violations(narrow) == {texts[1]: pytest.approx(64 / 256)}
    other = GanConfig.unflatten({"structure.loss": "hinge", "lane.discriminator_lr": 1e-4})
    assert space.violations(other) == {texts[0]: pytest.approx(0.5), texts[2]: 1.0}


def test_a_base_that_breaks_a_constraint_is_refused():
    with pytest.raises(InputError) as refused:
        inline(name="mine", constraints=["lane.beta1 < 0.5"])
    message = str(refused.value)
    assert message.startswith("space 'mine': the base breaks the constraint 'lane.beta1 < 0.5'; change one of them")
    assert "\n" not in message
    with pytest.raises(InputError, match="breaks the constraint"):
        inline(constraints=["lane.beta1 >= 0.5"]).fix({"lane.beta1": 0.25})


def test_a_child_adds_its_constraints_to_those_it_inherits():
    parent = {"constraints": ["lane.beta1 <= lane.beta2"]}
    child = inline(extends=parent, constraints=["lane.beta1  >=  0.1", "lane.beta1 <= lane.beta2"])
    assert [constraint.text for constraint in child.constraints] == ["lane.beta1 <= lane.beta2", "lane.beta1 >= 0.1"]
    assert SearchSpace.load(child.plain()) == child
    assert child.fix({"lane.beta1": 0.2}).constraints == child.constraints
    with pytest.raises(InputError, match="breaks the constraint 'lane.beta1 <= lane.beta2'"):
        inline(extends=parent, base={"lane.beta2": 0.5})


@pytest.mark.parametrize("written", ["lane.beta1 < 1", {"lane.beta1": 1}, 5])
def test_constraints_that_are_no_list_are_refused(written):
    with pytest.raises(InputError, match="constraints of space 'inline' must be a list of comparisons, got"):
        inline(constraints=written)


def test_no_constraints_are_none():
    assert inline(constraints=None).constraints == ()
    assert inline().violations(GanConfig()) == {}
    assert math.isclose(CLOSE, 1e-9)
