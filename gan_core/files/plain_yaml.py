"""The only reader and writer of YAML files here, for plain YAML, with one-line messages for all that is wrong.

Plain YAML holds texts, numbers, true and false, lists and mappings. PyYAML's safe loader reads it, in C where libyaml
is installed, after a pass over the events of the text has refused what would not be read as it looks (a key given
twice, a tag) or would take long (aliases of aliases, deep nesting).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

if yaml.__with_libyaml__:
    from yaml import CSafeLoader as SafeLoader  # five times as fast
else:
    from yaml import SafeLoader

from gan_core.config.fields import as_number
from gan_core.config.input_error import InputError, nearest, shortened, shown

__all__ = ["as_number", "check_keys", "dump_yaml", "file_named_in", "parse_yaml", "parse_yaml_value", "read_yaml"]

LARGEST_FILE_BYTES = 8 * 2**20
MOST_VALUES = 100_000  # in a file, counting the target of an alias each time; reading so many takes about half a second
MOST_LEVELS = 50  # nesting of lists and mappings
MOST_DIGITS = 100  # of a number, far more than any hyperparameter needs
TEXT_TAG, MERGE, LINE = "tag:yaml.org,2002:str", "<<", "\n"
# Whole and other numbers of YAML 1.1, without base 60 (1:30) and base 8 (010), which look like something else.
WHOLE = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$")
FRACTION = re.compile(
    r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


class _PlainLoader(SafeLoader):  # pyright: ignore[reportGeneralTypeIssues]
    """The safe loader, except that dates stay texts and that numbers are those of WHOLE and FRACTION."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own protocol
        first: [(tag, pattern) for tag, pattern in pairs if tag.rpartition(":")[2] not in ("timestamp", "int", "float")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:int", WHOLE, list("-+0123456789"))
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:float", FRACTION, list("-+.0123456789"))


def parse_yaml_value(text: str, source: str) -> Any:
    """The value of a YAML text, None for an empty one. Raises InputError where it is not plain YAML."""
    try:
        _check(text, source)
        return yaml.load(text, _PlainLoader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {min(mark.line, text.rstrip().count(LINE)) + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{source} is not plain YAML{where}: {shortened(problem)}") from error
    except ValueError as error:  # characters that YAML does not allow, or a number without digits
        if isinstance(error, InputError):
            raise
        raise InputError(f"{source} is not plain YAML: {shortened(str(error))}") from error


def parse_yaml(text: str, source: str) -> Mapping[str, Any]:
    """The mapping in a YAML text. Raises InputError, with the line, where it is no mapping or not plain YAML."""
    values = parse_yaml_value(text, source)
    if not isinstance(values, Mapping):
        raise InputError(f"{source} must hold 'key: value' lines, got {type(values).__name__}")
    return values


def read_yaml(path: Path) -> Mapping[str, Any]:
    """The mapping in a YAML file. Raises InputError when it cannot be read, is too large, or is not plain YAML."""
    named = shortened(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
        text = content.decode()
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte, or a file that is not UTF-8
        told = isinstance(error, OSError) and error.strerror
        raise InputError(f"cannot read {named}: {told or _not_readable(error)}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise InputError(f"cannot read {named}: it has more than {LARGEST_FILE_BYTES:,} bytes, and is no file of ours")
    return parse_yaml(text, named)


def file_named_in(folder: Path | None, name: str) -> str:
    """The path of a file or folder that is named in a file of this folder: relative to the folder where it exists
    there, else to the working folder, as in earlier versions. folder: None for a name that was not read from a file.
    """
    if folder is None or not name or os.path.isabs(os.path.expanduser(name)):
        return name
    there = str(folder / name)
    is_there = os.path.exists(there) or (any(mark in name for mark in "*?{") and os.path.isdir(os.path.dirname(there)))
    return there if is_there else name


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which writes a text of several lines as lines, where a reader can read it."""


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(TEXT_TAG, text, style="|" if LINE in text else None)


_Dumper.add_representer(str, _text_node)


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Plain values as the text of a YAML file, in their order."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, width=100)


def check_keys(values: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raises InputError for the first unknown key, naming the nearest known one."""
    for key in values:
        if key not in known:
            raise InputError(f"unknown key {shown(str(key))} in {where}; {nearest(key, known)}")


def _not_readable(error: Exception) -> str:
    return "it is not text" if isinstance(error, UnicodeDecodeError) else str(error)


@dataclass
class _Open:
    """A list or mapping whose end has not been read yet. parts: how many of its keys and values have been read; values,
    levels: the count and the nesting of everything in it, itself included.
    """

    anchor: str | None = None
    lines: dict[str, int] | None = None  # of the keys, for a mapping
    parts: int = 0
    values: int = 1
    levels: int = 1

    def take(self, values: int, levels: int) -> None:
        self.parts += 1
        self.values += values
        self.levels = max(self.levels, levels + 1)


@dataclass
class _Seen:
    """The state of a pass over a text. sizes: anchor -> (values, levels) of its target, once that has been read."""

    source: str
    values: int = 0
    stack: list[_Open] = field(default_factory=lambda: [_Open()])
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def refuse(self, event: Any, problem: str) -> InputError:
        return InputError(f"{self.source} is not plain YAML at line {event.start_mark.line + 1}: {problem}")


def _check(text: str, source: str) -> None:
    """Raises InputError for what is not plain YAML, in one pass without recursion, before any value is made."""
    seen = _Seen(source)
    for event in yaml.parse(text, _PlainLoader):
        if isinstance(event, yaml.CollectionStartEvent | yaml.ScalarEvent) and event.tag not in (None, "!", TEXT_TAG):
            raise seen.refuse(event, f"it has the tag {shortened(event.tag)}; write the value alone")
        if isinstance(event, yaml.CollectionStartEvent):
            seen.stack.append(_Open(event.anchor, {} if isinstance(event, yaml.MappingStartEvent) else None))
        elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
            _check_part(seen, event)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = seen.stack.pop()
            _count(seen, event, done.anchor, (done.values, done.levels))
        if len(seen.stack) > MOST_LEVELS:
            raise seen.refuse(event, f"it is nested more than {MOST_LEVELS} levels deep")


def _check_part(seen: _Seen, event: Any) -> None:
    """A text, a number or an alias, which may be a key."""
    inside = seen.stack[-1]
    if isinstance(event, yaml.AliasEvent):
        size = seen.sizes.get(event.anchor)
        if size is None and any(event.anchor == each.anchor for each in seen.stack):
            raise seen.refuse(event, f"{shown(event.anchor)} holds itself")
        _count(seen, event, None, size or (1, 1))  # an alias without a target is refused by the loader
        return
    if inside.lines is not None and inside.parts % 2 == 0 and event.value != MERGE:
        line = event.start_mark.line + 1
        if (before := inside.lines.setdefault(event.value, -line)) > 0:
            raise InputError(
                f"{seen.source}: the key {shown(event.value)} stands at line {before} and again at line {line}; "
                "keep one of them"
            )
        inside.lines[event.value] = line
    is_long = event.implicit[0] and len(event.value) > MOST_DIGITS
    if is_long and (WHOLE.match(event.value) or FRACTION.match(event.value)):
        raise seen.refuse(event, f"it has a number of {len(event.value):,} characters")
    _count(seen, event, event.anchor, (1, 1))


def _count(seen: _Seen, event: Any, anchor: str | None, size: tuple[int, int]) -> None:
    """Adds the size of what was read to the list or mapping around it."""
    if anchor is not None:
        seen.sizes[anchor] = size
    seen.stack[-1].take(*size)
    seen.values += 1 if isinstance(event, yaml.CollectionEndEvent) else size[0]
    if seen.values > MOST_VALUES:
        raise seen.refuse(event, f"it has more than {MOST_VALUES:,} values, those counted that aliases repeat")
    if seen.stack[-1].levels + len(seen.stack) > MOST_LEVELS:
        raise seen.refuse(event, f"it is nested more than {MOST_LEVELS} levels deep")
