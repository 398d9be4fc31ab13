"""A structure in Python that is not laid out as C's is refused when its library is loaded."""

import ctypes

import pytest
import torch

from gan_core.native.compiler import over_lane_header
from gan_core.native.library import native_function
from gan_core.native.mirrored import WrongLayout

TEXT = """
typedef struct {
    const double *numbers; /* [count]; not `values` */
    T *const *given[2], scale;
    long (*draw)(const void *stream, long from);
    long count;
} Truth;

long program(const Truth *x) { return x->count; }
"""
POINTER, LONG, FLOAT = ctypes.c_void_p, ctypes.c_long, ctypes.c_float
FIELDS = [("numbers", POINTER), ("given", POINTER * 2), ("scale", FLOAT), ("draw", POINTER), ("count", LONG)]


def mirror(*fields: tuple[str, type]) -> type[ctypes.Structure]:
    return type("Truth", (ctypes.Structure,), {"_fields_": list(fields)})


def test_a_structure_as_c_has_it_is_taken():
    truth = mirror(*FIELDS)
    assert native_function(TEXT, torch.float32, truth)(ctypes.byref(truth(count=7))) == 7


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (FIELDS[:-1], "the end at byte 40 with 0 bytes, C has count at byte 40 with 8 bytes"),
        ([*FIELDS, ("more", LONG)], "more at byte 48 with 8 bytes, C has the end at byte 48"),
        ([*FIELDS[:2], ("scale", ctypes.c_double), *FIELDS[3:]], "scale at byte 24 with 8 bytes, C has .* 4 bytes"),
        ([*FIELDS[:3], FIELDS[4], FIELDS[3]], "count at byte 32 with 8 bytes, C has draw at byte 32"),
        ([("values", POINTER), *FIELDS[1:]], "values at byte 0 with 8 bytes, C has numbers at byte 0"),
        ([FIELDS[0], ("given", POINTER), *FIELDS[2:]], "given at byte 8 with 8 bytes, C has .* 16 bytes"),
    ],
)
def test_a_structure_that_lies_is_refused(lie: list[tuple[str, type]], says: str):
    with pytest.raises(WrongLayout, match=f"^the fields of Truth must be those of C.* has {says}"):
        native_function(TEXT, torch.float32, mirror(*lie))


@pytest.mark.parametrize(
    ("plain", "other"),
    [
        ("typedef struct {", "typedef struct Tagged {"),
        ("    long count;", "    struct { long of; } inside;\n    long count;"),
        ("} Truth;", "} Lie, Truth;"),
    ],
)
def test_a_structure_whose_c_is_written_in_another_way_is_refused(plain: str, other: str):
    assert plain in TEXT
    with pytest.raises(WrongLayout, match=r"^the C of Truth, which .* must read `typedef struct \{ \.\.\. \} Truth;`"):
        native_function(TEXT.replace(plain, other), torch.float32, mirror(*FIELDS))


def test_every_text_exports_the_layouts_of_its_structures():
    text = over_lane_header(TEXT)
    assert "layout_of_Truth[]" in text
    assert "layout_of_Optimizer[]" in text
