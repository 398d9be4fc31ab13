"""Conditions on rows, such as `fidelity < 5 and outcome == "completed"`, which compare columns and can do nothing else.

They may come from a script or a form, so each node of the parsed text is looked up in a table of what is allowed, and
nothing of it is ever evaluated by Python or by pandas.
"""

import ast
import operator
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from gan_core.config.input_error import InputError, nearest, shortened, shown

MOST_CHARACTERS = 2_000
LARGEST = 1e300  # of a number that is written
ALLOWED = "columns, numbers, texts, comparisons, and, or, not, in, + - * /, isna() and notna()"
NUMBER, TEXT, TRUTH = "a number", "text", "a condition"
ORDERS = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
EQUALITIES = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
SIGNS = {ast.USub: operator.neg, ast.UAdd: operator.pos}


def column_named(name: str, columns: Iterable[str]) -> str:
    """The column of this name, or the only one of this name after its first dot: `fidelity.fid` for `fid`. Raises
    InputError if there is none, which names the nearest, or more than one.
    """
    columns = list(columns)
    if not isinstance(name, str) or not name:
        raise InputError(f"a column has a name, got {shown(name)}")
    if name in columns:
        return name
    found = [column for column in columns if column.partition(".")[2] == name]
    if len(found) > 1:
        raise InputError(f"{shown(name)} may be {' or '.join(found)}; write the whole name")
    if not found:
        short = {column.partition(".")[2] for column in columns} - {""}
        raise InputError(f"there is no column {shown(name)}; {nearest(name, [*columns, *sorted(short)])}")
    return found[0]


def meets(rows: pd.DataFrame, condition: str) -> pd.Series:
    """Whether each row meets the condition, bool [n].

    It is written as for `DataFrame.query`: names of columns, short where they are unambiguous, numbers, texts in
    quotation marks, comparisons, `and`, `or`, `not`, arithmetic, `x in [1, 2]`, `"oscillation" in signs` (a part of a
    text) and `isna(x)`. As there, a missing value fulfils only `!=`, `not in` and what is negated. Raises InputError
    for everything else, which names it, and for a column that is not there.
    """
    if len(condition) > MOST_CHARACTERS:
        raise InputError(f"a condition has at most {MOST_CHARACTERS:,} characters, got {len(condition):,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Python warns of `1and`, which is then a SyntaxError
            tree = ast.parse(condition.strip(), mode="eval")
        with np.errstate(all="ignore"):  # a division by 0 gives infinity, as in pandas
            found = _Reader(rows).value(tree.body)
    except SyntaxError as error:
        rest = (error.text or condition)[max(0, (error.offset or 1) - 1) :].strip() or "its end"
        raise InputError(f"the condition {shown(condition)} cannot be read from {shown(rest)} on") from error
    except (ValueError, MemoryError, RecursionError) as error:  # a NUL, or too deep for Python's parser
        if isinstance(error, InputError):
            raise
        raise InputError(f"the condition {shown(condition)} cannot be read: {error}") from error
    if not isinstance(found, pd.Series) or _kind(found) is not TRUTH:
        raise InputError(f"{shown(condition)} is no condition on columns; write one such as 'fidelity < 5'")
    return found


class _Reader:
    """Computes the value of a node: a column of numbers (float64), texts (object) or truths (bool), or one of these."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows = rows
        self.kinds = {
            **{ast.Name: self.column, ast.Attribute: self.column, ast.Constant: self.constant},
            **{ast.BoolOp: self.junction, ast.UnaryOp: self.unary, ast.BinOp: self.arithmetic},
            **{ast.Compare: self.comparison, ast.Call: self.call},
        }

    def value(self, node: Any) -> Any:
        if (read := self.kinds.get(type(node))) is None:
            raise _refusal(node)
        return read(node)

    def of_kind(self, node: ast.expr, kind: str) -> Any:
        """The value of a node that must be of a kind."""
        found = self.value(node)
        if _kind(found) is not kind:
            raise InputError(f"{_written(node)} is {_kind(found)}; {kind} is needed there")
        return found

    def column(self, node: Any) -> pd.Series:
        parts, inner = list[str](), node
        while isinstance(inner, ast.Attribute):
            parts, inner = [inner.attr, *parts], inner.value
        if not isinstance(inner, ast.Name):
            raise _refusal(node)
        found: Any = self.rows[column_named(".".join([inner.id, *parts]), map(str, self.rows.columns))]
        if pd.api.types.is_bool_dtype(found):
            return found.fillna(False).astype(bool)
        return found.astype("float64") if pd.api.types.is_numeric_dtype(found) else found.astype(object)

    def constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, bool | str):
            return node.value
        if not isinstance(node.value, int | float) or abs(node.value) > LARGEST:
            raise _refusal(node)
        return np.float64(node.value)

    def junction(self, node: ast.BoolOp) -> Any:
        join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
        found, *others = (self.of_kind(part, TRUTH) for part in node.values)
        for other in others:
            found = join(found, other)
        return found

    def unary(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            found = self.of_kind(node.operand, TRUTH)
            return not found if isinstance(found, bool) else ~found
        if type(node.op) not in SIGNS:
            raise _refusal(node)
        return SIGNS[type(node.op)](self.of_kind(node.operand, NUMBER))

    def arithmetic(self, node: ast.BinOp) -> Any:
        if type(node.op) not in ARITHMETIC:
            raise _refusal(node)
        return ARITHMETIC[type(node.op)](self.of_kind(node.left, NUMBER), self.of_kind(node.right, NUMBER))

    def comparison(self, node: ast.Compare) -> Any:
        found, left = True, node.left
        for sign, right in zip(node.ops, node.comparators, strict=True):
            found, left = found & self.compared(node, left, sign, right), right
        return found

    def compared(self, node: ast.Compare, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(sign, ast.In | ast.NotIn):
            found = self.inside(left, right)
            return found if isinstance(sign, ast.In) else ~found
        values, compare = (self.value(left), self.value(right)), {**ORDERS, **EQUALITIES}.get(type(sign))
        if compare is None:
            raise _refusal(node)
        kinds = set(map(_kind, values))
        if len(kinds) > 1:
            raise InputError(f"{_written(node)} compares {_kind(values[0])} with {_kind(values[1])}")
        if type(sign) in ORDERS and kinds != {NUMBER}:
            raise InputError(f"{_written(node)} asks for the order of {kinds.pop()}, which has none; use == or in")
        return compare(*values)

    def inside(self, left: ast.expr, right: ast.expr) -> Any:
        """Whether a column is one of several values, or a text is a part of a column's texts."""
        found = self.value(left)
        if isinstance(right, ast.List | ast.Tuple | ast.Set) and isinstance(found, pd.Series):
            return found.isin([self.of_kind(one, _kind(found)) for one in right.elts])
        if isinstance(found, str) and isinstance(within := self.of_kind(right, TEXT), pd.Series):
            return within.str.contains(found, regex=False).eq(True)
        raise _refusal(right)

    def call(self, node: ast.Call) -> pd.Series:
        """`isna(column)` or `column.isna()`, and the same with notna."""
        given, name = list(node.args), node.func
        if isinstance(name, ast.Attribute) and not given:
            given, name = [name.value], ast.Name(name.attr)
        known = name.id if isinstance(name, ast.Name) and name.id in ("isna", "notna") else None
        if known is None or len(given) != 1 or node.keywords or not isinstance(given[0], ast.Name | ast.Attribute):
            raise _refusal(node)
        missing = self.column(given[0]).isna()
        return missing if known == "isna" else ~missing


def _kind(value: Any) -> str:
    if isinstance(value, pd.Series):
        return TRUTH if value.dtype == bool else NUMBER if pd.api.types.is_numeric_dtype(value) else TEXT
    return TRUTH if isinstance(value, bool | np.bool_) else TEXT if isinstance(value, str) else NUMBER


def _written(node: ast.expr) -> str:
    return shortened(ast.unparse(node))


def _refusal(node: ast.expr) -> InputError:
    return InputError(f"a condition may hold {ALLOWED}, and not {_written(node)}")
