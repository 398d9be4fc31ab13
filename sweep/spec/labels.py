"""Labels of the nodes of a Ray cluster, and what a person may ask of them, in Ray's own notation."""

import re
from collections.abc import Mapping
from typing import Any

from gan_core.config.input_error import InputError, shown

NODE_LABEL = "ray.io/node-id"  # which Ray gives each node
PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
NAME = re.compile(rf"(?:(?=.{{1,253}}/){PART}(?:\.{PART})*/)?{PART}")
WANTED = re.compile(rf"(!?)(?:({PART})|in\(({PART}(?:, ?{PART})*)\))")


def check_wanted_labels(labels: Any) -> None:
    """Raises InputError for what does not map names of labels to `VALUE`, `!VALUE`, `in(A, B)` or `!in(A, B)`."""
    if not isinstance(labels, Mapping):
        raise InputError(f"resources.labels must map names of labels to values, got {shown(labels)}")
    for name, wanted in labels.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InputError(f"resources.labels names {shown(name)}, which is no name of a label, such as zone")
        if name == NODE_LABEL:
            raise InputError(
                f"resources.labels cannot name {NODE_LABEL}, which is another one each time Ray starts; start Ray on "
                "the node with a label of your own (ray start --labels zone=a)"
            )
        if not isinstance(wanted, str):
            raise InputError(
                f"resources.labels: the value of {name} must be a text, got {shown(wanted)}; put it into quotes"
            )
        if not WANTED.fullmatch(wanted):
            raise InputError(
                f"resources.labels: the value of {name} must be such as H100, !H100, in(H100, H200) or !in(T4, L4), "
                f"got {shown(wanted)}"
            )


def has_label(labels: Mapping[str, str], name: str, wanted: str) -> bool:
    """Whether a node with these labels has one as it is wanted. A node without it has every label that is not to be of
    some value, as Ray sees it. wanted: as `check_wanted_labels` accepts it.
    """
    found = WANTED.fullmatch(wanted)
    assert found is not None
    excludes, one, several = found.groups()
    values = [one] if one else re.split(", ?", several)
    return (labels.get(name) in values) != bool(excludes)


def has_labels(labels: Mapping[str, str], all_wanted: Mapping[str, str]) -> bool:
    """Whether a node with these labels has all as they are wanted."""
    return all(has_label(labels, name, wanted) for name, wanted in all_wanted.items())
