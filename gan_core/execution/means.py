"""A traced function whose value is a sum of means over rows of numbers, as formulas in C.

A loss is such a function: of the logits of decisions, and of numbers that a lane has. Terms over the same rows are put
together, so that one sum is enough for each set of rows: mean(a) + s mean(b) is the mean of a + s b.

R numbers of a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from gan_core.execution.c_text import number
from gan_core.execution.formulas import FORMULAS, NotInC
from gan_core.execution.trace import is_view

aten = torch.ops.aten
Rows = tuple[str, ...]  # names of the rows that a term is made of, in alphabetical order


@dataclass(frozen=True)
class _Value:
    """terms maps the rows that a formula reads to the formula. A lane's number has one term without rows, an
    elementwise result one term, a sum of means (`meant`) several.
    """

    terms: Mapping[Rows, str]
    meant: bool = False


def means_in_c(graph: fx.Graph) -> Mapping[Rows, str]:
    """The sum of means that a graph copies into its last placeholder: the rows of each mean, and the formula in C whose
    mean it is. In formulas `x[i]` is a number of the row x, a placeholder [1, R], and `y` the number y, a placeholder
    [1]. Raises NotInC.
    """
    values: dict[fx.Node, _Value] = {}
    copied = None
    for node in graph.nodes:
        if node.op == "placeholder":
            row = node.meta["val"].ndim == 2
            values[node] = _Value({(node.name,): f"{node.name}[i]"} if row else {(): node.name})
        elif node.target is aten.copy_.default:
            copied = values[node.args[1]]
        elif node.op == "call_function":
            values[node] = _called(node, [values.get(x) if isinstance(x, fx.Node) else x for x in node.args])
        elif node.op == "get_attr":
            raise NotInC("a constant tensor in a sum of means")
    if copied is None or not copied.meant:
        raise NotInC("what is no sum of means")
    return copied.terms


def _called(node: fx.Node, given: list[Any]) -> _Value:
    target: Any = node.target
    first = given[0]
    if target is aten.mean.dim:
        if first.meant or list(node.args[1]) not in ([1], [-1]) or node.kwargs:  # pyright: ignore[reportArgumentType]
            raise NotInC(f"{target} of other axes than a row's")
        return _Value(first.terms, meant=True)
    if is_view(target):
        source = node.args[0]
        if any(first.terms) and not first.meant and node.meta["val"].shape != source.meta["val"].shape:  # pyright: ignore
            raise NotInC(f"{target} of a row")
        return first
    if target not in FORMULAS or node.kwargs:
        raise NotInC(f"{target} in a sum of means")
    values = [x if isinstance(x, _Value) or x is None else _Value({(): number(x)}) for x in given]
    if any(value is not None and value.meant for value in values):
        return _Value(_of_means(target, values), meant=True)
    rows = sorted({row for value in values if value is not None for terms in value.terms for row in terms})
    texts = [None if value is None else next(iter(value.terms.values())) for value in values]
    return _Value({tuple(rows): FORMULAS[target](*texts)})


def _of_means(target: Any, values: list[Any]) -> dict[Rows, str]:
    """Applies a linear operation to sums of means, term by term; a lane's number counts as its own mean."""
    if target is aten.rsub.Scalar:  # a number minus a sum of means
        target, values = aten.sub.Tensor, values[::-1]
    formula = FORMULAS[target]
    if target is aten.neg.default:
        return {rows: formula(text) for rows, text in values[0].terms.items()}
    if target not in (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor):
        raise NotInC(f"{target} of means")
    one, other = values
    if any(terms and not value.meant for value in values for terms in value.terms):
        raise NotInC(f"{target} of a row and a mean")
    if target in (aten.add.Tensor, aten.sub.Tensor):
        terms = dict(one.terms)
        for rows, text in other.terms.items():
            alone = text if target is aten.add.Tensor else f"(-{text})"
            terms[rows] = formula(terms[rows], text) if rows in terms else alone
        return terms
    if target is aten.mul.Tensor and other.meant and not one.meant:
        one, other = other, one
    if other.meant:
        raise NotInC(f"{target} of two means")
    (factor,) = other.terms.values()
    return {rows: formula(text, factor) for rows, text in one.terms.items()}
