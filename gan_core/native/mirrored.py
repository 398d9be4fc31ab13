"""Structures that are written twice, in C and as `ctypes.Structure`: both must lay out the same fields alike.

A missing or misplaced field would be read as a different one: numbers would be wrong, or memory would be read that is
not ours. So every library says how its compiler laid out its structures, and this is
compared with Python's when the library is loaded.
"""

import ctypes
import re

Structure = type[ctypes.Structure]
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_STRUCTURE = re.compile(r"typedef struct \{([^{}]*)\} (\w+);")
_FUNCTION = re.compile(r"\(\*(\w+)\)\(")
_FIELD = re.compile(r"(\w+)(?:\[\w+\])?\s*(?:,|$)")


class WrongLayout(Exception):
    """A structure in Python is not laid out as the one of its name in C."""


def layouts_text(text: str) -> str:
    """C to be put behind a text: for each structure that it defines an array `layout_of_<name>` with the offset in
    bytes and the size of each field, and last the size of the whole.
    """
    lines = []
    for name, fields in _structures(text).items():
        numbers = [f"__builtin_offsetof({name}, {field}), sizeof((({name} *)0)->{field})" for field in fields]
        lines.append(f"const long layout_of_{name}[] = {{{', '.join([*numbers, f'sizeof({name})'])}}};\n")
    return "".join(lines)


def check_layout(structure: Structure, text: str, library: ctypes.CDLL) -> None:
    """Raises WrongLayout if a field's name, offset or size differs from C's, or the text does not define the structure.
    library: compiled from the text and its `layouts_text`.
    """
    name = structure.__name__
    fields = _structures(text).get(name)
    if fields is None:
        raise WrongLayout(
            f"the C of {name}, which {structure.__module__} mirrors, must read `typedef struct {{ ... }} {name};`, "
            "without a name after `struct` and without structures inside"
        )
    offsets = list((ctypes.c_long * (2 * len(fields) + 1)).in_dll(library, f"layout_of_{name}"))
    in_c = [*zip(fields, offsets[:-1:2], offsets[1:-1:2], strict=True), ("the end", offsets[-1], 0)]
    names = [field for field, *_ in structure._fields_]
    here = [(field, getattr(structure, field).offset, getattr(structure, field).size) for field in names]
    here.append(("the end", ctypes.sizeof(structure), 0))
    for mine, theirs in zip(here, in_c, strict=False):
        if mine != theirs:
            ours, others = ("{} at byte {} with {} bytes".format(*each) for each in (mine, theirs))
            raise WrongLayout(
                f"the fields of {name} must be those of C, in the same order and of the same sizes: "
                f"{structure.__module__} has {ours}, C has {others}"
            )


def _structures(text: str) -> dict[str, list[str]]:
    """The names of the fields, in order, of each structure that a text defines without a tag and without structures
    inside.
    """
    return {
        name: [field for part in body.split(";") for field in _FUNCTION.findall(part) or _FIELD.findall(part.strip())]
        for body, name in _STRUCTURE.findall(_COMMENT.sub("", text))
    }
