"""The grammar of `structure.dataset`."""

import subprocess
import sys
from pathlib import Path

import pytest

from gan_core.config.dataset_name import (
    IMAGE_KINDS,
    LABELLED_KINDS,
    LARGEST_MODES,
    ON_DISK_KINDS,
    VALUE_KINDS,
    DatasetName,
    parse_dataset_name,
)
from gan_core.config.input_error import InputError

NAMES = {
    "gaussian": DatasetName("gaussian", (4.0, 1.25)),
    "gaussian:-1,0.5": DatasetName("gaussian", (-1.0, 0.5)),
    "gaussian: 1e3 , 1E-6": DatasetName("gaussian", (1000.0, 1e-6)),
    "mixture:0,1;4,0.5": DatasetName("mixture", (0.0, 1.0, 4.0, 0.5)),
    "mixture:0,1;4,0.5;-2,2": DatasetName("mixture", (0.0, 1.0, 4.0, 0.5, -2.0, 2.0)),
    "ring": DatasetName("ring", (8.0, 1.0, 0.01)),
    "ring:3": DatasetName("ring", (3.0, 1.0, 0.01)),
    "ring:3,2": DatasetName("ring", (3.0, 2.0, 0.01)),
    "ring:3,2,0.1": DatasetName("ring", (3.0, 2.0, 0.1)),
    "grid": DatasetName("grid", (5.0, 2.0, 0.05)),
    "grid:3": DatasetName("grid", (3.0, 2.0, 0.05)),
    "grid:3,1,0.1": DatasetName("grid", (3.0, 1.0, 0.1)),
    "digits": DatasetName("digits"),
    "polygons": DatasetName("polygons"),
    "mnist": DatasetName("mnist"),
    "fashion_mnist": DatasetName("fashion_mnist"),
    "cifar10": DatasetName("cifar10"),
    "images:~/faces": DatasetName("images", folder="~/faces"),
    "images:C:/my pictures, all;": DatasetName("images", folder="C:/my pictures, all;"),
}
REFUSED = {
    "digit": "unknown data set 'digit'; did you mean 'digits'?",
    "": "unknown data set ''; known: gaussian, mixture",
    "Gaussian": "did you mean 'gaussian'?",
    "rings:8": "unknown data set 'rings:8'; did you mean 'ring'?",
    "mnist:28": "'mnist' takes no arguments, got 'mnist:28'; write 'mnist'",
    "digits:": "'digits' takes no arguments",
    "images": "'images' names no folder or file; write images:FOLDER, images:FILE.npz, ",
    "images:": "names no folder or file",
    "gaussian:": "could not convert string to float: ''; write gaussian or gaussian:MEAN,DEVIATION",
    "gaussian:4": "has 1 numbers; write gaussian or gaussian:MEAN,DEVIATION",
    "gaussian:4,1,2": "has 3 numbers",
    "gaussian:4,one": "could not convert string to float: 'one'",
    "gaussian:4,0": "DEVIATION must be above 0, from 1e-06 to 1e+06, got 0",
    "gaussian:4,-1": "got -1",
    "gaussian:4,nan": "got nan",
    "gaussian:nan,1": "MEAN must be from -1e+06 to 1e+06, got nan",
    "gaussian:inf,1": "got inf",
    "gaussian:1e400,1": "got inf",
    "gaussian:4,1;5,1": "could not convert",
    "mixture": "must have 2 to 1000 modes, got 0; write mixture:MEAN,DEVIATION;MEAN,DEVIATION",
    "mixture:4,1": "must have 2 to 1000 modes, got 1",
    "mixture:4,1;": "could not convert",
    "mixture:4,1;5": "a mode is two numbers, got 1",
    "mixture:4,1;5,1,1": "a mode is two numbers, got 3",
    "mixture:4,1;5,0": "DEVIATION must be above 0",
    "mixture:" + ";".join(["0,1"] * (LARGEST_MODES + 1)): "must have 2 to 1000 modes, got 1001",
    "ring:": "could not convert",
    "ring:0": "MODES must be a whole number from 1 to 1000, got 0",
    "ring:2.5": "got 2.5",
    "ring:inf": "got inf",
    "ring:nan": "got nan",
    "ring:1001": "got 1001",
    "ring:8,0": "RADIUS must be above 0",
    "ring:8,1,0": "DEVIATION must be above 0",
    "ring:8,1,1,1": "has 4 numbers; write ring or ring:MODES[,RADIUS[,DEVIATION]]",
    "grid:32": "SIDE must be a whole number from 1 to 31, got 32",
    "grid:5,-2": "STEP must be above 0",
    "grid:5,2,inf": "DEVIATION must be above 0, from 1e-06 to 1e+06, got inf",
}


@pytest.mark.parametrize("text", NAMES)
def test_a_name_is_taken_apart_with_its_defaults_filled_in(text):
    assert parse_dataset_name(text) == NAMES[text]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_what_the_grammar_does_not_allow_is_refused_in_one_line(text):
    with pytest.raises(InputError) as refused:
        parse_dataset_name(text)
    assert REFUSED[text] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_line_break_in_a_name_stays_out_of_the_message():
    with pytest.raises(InputError, match=r"'dig\\nits'") as refused:
        parse_dataset_name("dig\nits")
    assert "\n" not in str(refused.value)


def test_every_kind_is_either_of_numbers_or_of_images_and_the_samples_above_have_them_all():
    assert not set(VALUE_KINDS) & set(IMAGE_KINDS)
    assert {name.kind for name in NAMES.values()} == set(VALUE_KINDS) | set(IMAGE_KINDS)
    assert set(ON_DISK_KINDS) < set(LABELLED_KINDS) < set(IMAGE_KINDS)
    sizes = {name.kind: (name.is_values, name.value_size) for name in NAMES.values()}
    two = {"gaussian": (True, 1), "mixture": (True, 1), "ring": (True, 2), "grid": (True, 2)}
    assert sizes == two | {kind: (False, 0) for kind in IMAGE_KINDS}


def test_the_grammar_loads_without_torch_and_numpy():
    program = "import sys, gan_core.config.dataset_name; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
