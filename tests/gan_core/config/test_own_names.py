"""References to a person's own code, and the text that is carried along with a run."""

import pytest

from gan_core.config.input_error import InputError
from gan_core.config.own_names import (
    MOST_CHARACTERS,
    OwnCode,
    Reference,
    is_reference,
    parse_code,
    parse_reference,
    plain_code,
)

CODE = OwnCode("my_gan", (("my_gan.py", "import layers\n"), ("layers.py", "x = 1\n")))


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("my_gan.py", Reference("my_gan.py")),
        ("../nets/my_gan.py:train_set", Reference("../nets/my_gan.py", "train_set")),
        ("my_gan.py#0123456789ab", Reference("my_gan.py", digest="0123456789ab")),
        ("package.module:Trainer#0123456789ab", Reference("package.module", "Trainer", "0123456789ab")),
    ],
)
def test_a_reference_is_read_and_written_back(text, reference):
    assert parse_reference("structure.networks", text) == reference
    assert str(reference) == text
    assert is_reference(text)
    assert reference.is_file is (".py" in text)


@pytest.mark.parametrize(
    "text", ["digits", "my_gan", "images:my_gan.py", "my_gan.py:", "my_gan.py#1", 3, None, "a b.c"]
)
def test_what_is_no_reference_is_refused_with_the_key_and_the_value(text):
    assert not is_reference(text)
    with pytest.raises(InputError, match=r"structure\.networks must be FILE\.py or package\.module"):
        parse_reference("structure.networks", text)


def test_the_digest_is_of_every_path_and_text_and_of_nothing_else():
    files = CODE.files
    assert OwnCode("my_gan", files[::-1]).digest == CODE.digest
    others = [
        OwnCode("other", files),
        OwnCode("my_gan", files[:1]),
        OwnCode("my_gan", (files[0], ("layers.py", "x = 2\n"))),
        OwnCode("my_gan", (files[0], ("layer.py", "x = 1\n"))),
    ]
    assert len({one.digest for one in (CODE, *others)}) == 5


def test_code_is_read_back_from_plain_values():
    assert parse_code(plain_code([CODE])) == (CODE,)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "code must map digests to files"),
        ({"0123456789ab": {}}, "must have a module and files"),
        ({"0123456789ab": {"module": 3, "files": {"a.py": ""}}}, "must have a module and files"),
        ({"0123456789ab": {"module": "a", "files": {"a.py": 3}}}, "must have a module and files"),
        ({"0123456789ab": CODE.plain()}, f"was changed in this file: its digest is {CODE.digest}"),
        ({"0123456789ab": {"module": "a", "files": {"../a.py": ""}}}, "must be a relative path to a .py file"),
        ({"0123456789ab": {"module": "a", "files": {"/a.py": ""}}}, "must be a relative path to a .py file"),
        ({"0123456789ab": {"module": "a", "files": {"a.sh": ""}}}, "must be a relative path to a .py file"),
        (
            {"0123456789ab": {"module": "a", "files": {"a.py": "#" * (MOST_CHARACTERS + 1)}}},
            "own code may be 200 files",
        ),
    ],
)
def test_code_that_is_none_is_refused_in_one_line(value, says):
    with pytest.raises(InputError, match=says) as refusal:
        parse_code(value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500
