"""Constraints: comparisons of hyperparameters that every configuration must satisfy.

`ast` parses the text and Python evaluates none of it: anything but numbers, dotted names, quoted text, + - * / and one
comparison is refused.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gan_core.config.fields import is_number
from gan_core.config.gan import HYPERPARAMETERS, hyperparameter, is_hyperparameter, parse_value
from gan_core.config.input_error import InputError, nearest, shown

LONGEST_CONSTRAINT = 200  # characters
LARGEST_NUMBER = 1e300
CLOSE = 1e-9  # numbers that differ by less, relative to the larger, count as equal
ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda one, other: one / other if other else math.nan,
}
TEXTS = (
    str,
    object,
)  # kinds of hyperparameters that may be texts; an argument of own code (object) may be a number too
COMPARISONS: dict[type[ast.cmpop], str] = {
    **{ast.LtE: "<=", ast.GtE: ">=", ast.Lt: "<", ast.Gt: ">"},
    **{ast.Eq: "==", ast.NotEq: "!="},
}
EXAMPLE = "write one comparison, as in 'lane.discriminator_lr >= 2 * lane.generator_lr'"


@dataclass(frozen=True)
class Constraint:
    """A comparison. Two constraints are equal if their texts are."""

    text: str
    sign: str = field(compare=False)
    left: ast.expr = field(compare=False, repr=False)
    right: ast.expr = field(compare=False, repr=False)

    @property
    def names(self) -> list[str]:
        """The hyperparameters that it compares."""
        nodes = [node for side in (self.left, self.right) for node in ast.walk(side)]
        return [ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)]

    def violation(self, values: Mapping[str, Any]) -> float:
        """By how much these hyperparameters break the constraint: 0 if it holds, else above 0 and at most 2.

        For an order or ==, it is the difference of the sides relative to the larger of them, and at least 1e-9, within
        which numbers count as equal (so equal sides break < and >). It is 1 for != and for texts, and if a side cannot
        be computed, as in a division by 0.
        """
        left, right = _evaluate(self.left, values), _evaluate(self.right, values)
        if isinstance(left, str) or isinstance(right, str):
            return float((left == right) != (self.sign == "=="))
        if not (math.isfinite(left) and math.isfinite(right)):
            return 1.0
        size = max(abs(left), abs(right))
        difference = left / size - right / size if size else 0.0
        if self.sign == "==":
            return abs(difference) if abs(difference) > CLOSE else 0.0
        if self.sign == "!=":
            return 1.0 if abs(difference) <= CLOSE else 0.0
        excess = -difference if self.sign.startswith(">") else difference
        if self.sign.endswith("="):
            return excess if excess > CLOSE else 0.0
        return max(excess, CLOSE) if excess >= -CLOSE else 0.0


def parse_constraint(text: Any) -> Constraint:
    """Parses a comparison. Raises InputError for anything else, with the most similar name if one is unknown."""
    if not isinstance(text, str) or len(text) > LONGEST_CONSTRAINT or "\\" in text:
        raise InputError(
            f"a constraint must be a text of up to {LONGEST_CONSTRAINT} characters, got {shown(text)}; {EXAMPLE}"
        )
    text = " ".join(text.split())
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise InputError(f"constraint {shown(text)} cannot be read; {EXAMPLE}") from error
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1 or type(tree.ops[0]) not in COMPARISONS:
        raise InputError(f"constraint {shown(text)} is not one comparison by <=, >=, <, >, == or !=; {EXAMPLE}")
    sign, left, right = COMPARISONS[type(tree.ops[0])], tree.left, tree.comparators[0]
    names = [name for side in (left, right) if (name := _text_name(text, side))]
    if names or any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in (left, right)):
        _check_texts(text, sign, (left, right))
    elif not _names_in(text, left) + _names_in(text, right):
        raise InputError(f"constraint {shown(text)} names no hyperparameter; {EXAMPLE}")
    return Constraint(text, sign, left, right)


def _dotted(text: str, node: ast.expr) -> str | None:
    """The hyperparameter that a node names, or None if it is not a name. Raises InputError for an unknown name."""
    if not isinstance(node, ast.Attribute | ast.Name):
        return None
    name = ast.unparse(node)
    if not is_hyperparameter(name):
        raise InputError(
            f"constraint {shown(text)} names the unknown hyperparameter {shown(name)}; {nearest(name, HYPERPARAMETERS)}"
        )
    if name == "seed":
        raise InputError(f"constraint {shown(text)} cannot ask for the seed: every trial has its own")
    return name


def _text_name(text: str, side: ast.expr) -> str | None:
    """The hyperparameter that a side names, if its values are texts; else None."""
    name = _dotted(text, side)
    return name if name and hyperparameter(name).kind is str else None


def _check_texts(text: str, sign: str, sides: tuple[ast.expr, ast.expr]) -> None:
    """Raises InputError unless one side is a hyperparameter with text values, the other one of these, and == or != is
    between them.
    """
    for side, other in (sides, sides[::-1]):
        name = _dotted(text, side)
        if (
            name
            and hyperparameter(name).kind in TEXTS
            and sign in ("==", "!=")
            and isinstance(other, ast.Constant)
            and isinstance(other.value, str)
        ):
            parse_value(name, other.value)
            return
    raise InputError(
        f"constraint {shown(text)} compares what is no number; write == or != between a name and a quoted value, "
        "as in 'structure.loss != \"hinge\"'"
    )


def _names_in(text: str, node: ast.expr) -> list[str]:
    """The hyperparameters in an arithmetic term. Raises InputError for anything that is not arithmetic."""
    if name := _dotted(text, node):
        if hyperparameter(name).kind is str:  # an argument of own code that is a text breaks what computes with it
            raise InputError(
                f"constraint {shown(text)} computes with {name}, which is no number; compare it by == or !="
            )
        return [name]
    if isinstance(node, ast.Constant) and is_number(node.value) and abs(node.value) < LARGEST_NUMBER:
        return []
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _names_in(text, node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        return _names_in(text, node.left) + _names_in(text, node.right)
    raise InputError(
        f"constraint {text!r} has {ast.unparse(node)!r}, which is no number, dotted name, sum, product or quotient"
    )


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """The value of a parsed side: a number, NaN if it cannot be computed, or a text."""
    match node:
        case ast.Constant():
            return node.value
        case ast.UnaryOp():
            return -_evaluate(node.operand, values)
        case ast.BinOp():
            sides = _evaluate(node.left, values), _evaluate(node.right, values)
            return math.nan if any(isinstance(side, str) for side in sides) else ARITHMETIC[type(node.op)](*sides)
        case _:
            return values[ast.unparse(node)]
