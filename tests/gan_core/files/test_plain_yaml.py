"""The one reader of YAML: what is plain is read as it looks; the rest is refused at once, in one line."""

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from gan_core.config.fields import as_number
from gan_core.config.input_error import InputError
from gan_core.files import plain_yaml
from gan_core.files.plain_yaml import MOST_LEVELS, MOST_VALUES, file_named_in, parse_yaml, parse_yaml_value, read_yaml

LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12))
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 5000))
REFUSED = {
    "key twice": ("a: 1\nb: 2\na: 3", ["f.yaml: the key 'a' stands at line 1 and again at line 3", "keep one"]),
    "key twice, quoted": ("a:\n  x: 1\n  'x': 2", ["the key 'x' stands at line 2 and again at line 3"]),
    "key twice in one line": ("a: [{b: 1, b: 2}]", ["the key 'b' stands at line 1 and again at line 1"]),
    "a billion laughs": (LAUGHS, ["at line 6", f"more than {MOST_VALUES:,} values"]),
    "a billion merges": (MERGES, ["at line 6", f"more than {MOST_VALUES:,} values"]),
    "aliases of aliases": (CHAIN, [f"nested more than {MOST_LEVELS} levels"]),
    "1,500 levels in a line": ("a: " + "[" * 1500 + "]" * 1500, ["at line 1", "nest"]),
    "1,500 levels of dashes": ("- " * 1500 + "x", ["at line 1", f"nested more than {MOST_LEVELS} levels"]),
    "1,500 levels of indents": ("\n".join(" " * n + "a:" for n in range(1500)), ["at line 48", "nested"]),
    "a list in itself": ("a: &a [1, *a]", ["'a' holds itself"]),
    "an alias of nothing": ("a: *b", ["undefined alias"]),
    "a tag": ("a: !!python/object/apply:os.system ['true']", ["at line 1", "the tag", "python/object"]),
    "an empty number": ("a: !!int ''", ["the tag", "int"]),
    "a tag of a truth": ("a: !!bool perhaps", ["the tag", "bool"]),
    "a tag of a date": ("a: !!timestamp 2026-02-30", ["the tag", "timestamp"]),
    "many values": ("a: [" + "1," * MOST_VALUES + "]", [f"more than {MOST_VALUES:,} values"]),
    "a long number": ("a: " + "9" * 5000, ["a number of 5,000 characters"]),
    "a long number to base 16": ("a: 0x" + "f" * 99_999, ["a number of 100,001 characters"]),
    "a list as a key": ("? [a]\n: 1", ["unhashable key"]),
    "two documents": ("a: 1\n---\na: 2", ["at line 2", "another document"]),
    "a zero byte": ("a: \0", ["control characters"]),
    "half a character": ("a: \udc80", ["not plain YAML"]),
    "open to the end": ("a: [1", ["at line 1"]),
    "a list": ("- a", ["must hold 'key: value' lines, got list"]),
}


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_plain_is_refused_at_once_in_one_line(text, says):
    with pytest.raises(InputError) as refused:
        parse_yaml(text, "f.yaml")
    message = str(refused.value)
    assert [part for part in ("f.yaml", *says) if part not in message] == []
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("2026-02-30", "2026-02-30"),
        ("1:30", "1:30"),
        ("010", "010"),
        ("1e5", "1e5"),  # a text here, so that a run may be called so; every number is read by `as_number`
        ("100_000", 100_000),
        ("0x1f", 31),
        ("-.5", -0.5),
        ("1.5e+3", 1500.0),
        ("[.inf, -.inf, true, null, ~, yes]", [float("inf"), -float("inf"), True, None, None, True]),
        ("!!str 5", "5"),
        ("{a: &x {k: 1}, b: {<<: *x, j: 2}, c: [*x, *x]}", {"a": {"k": 1}, "b": {"k": 1, "j": 2}, "c": [{"k": 1}] * 2}),
    ],
)
def test_what_is_plain_is_read_as_it_looks(text: str, value: Any):
    assert parse_yaml_value(text, "f.yaml") == value


@pytest.mark.parametrize("written", ["1e5", "1E5", "1e+5", "1.0e5", "100000", "100_000", "0100000", "100000.0", 1e5])
def test_a_whole_number_is_one_however_it_is_written(written):
    assert as_number(int, written) == 100_000
    assert type(as_number(int, written)) is int
    assert as_number(float, written) == 1e5
    assert type(as_number(float, written)) is float


@pytest.mark.parametrize("written", ["1e5x", "", "five", True, None, [1], "1e-5", 0.5, "nan", "inf", "1e999"])
def test_what_is_no_whole_number_is_left_as_it_is(written):
    assert as_number(int, written) is written


def test_what_yaml_writes_of_a_text_or_number_is_read_back():
    values = ["1e5", "010", "1:30", "2026-02-30", "no", "~", "0x1f", ".5", "a: b", " #", 1e-7, 1e300, -(2**63), True]
    assert parse_yaml_value(yaml.safe_dump(values), "f.yaml") == values


def test_a_file_that_no_person_wrote_is_refused_before_it_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_yaml, "LARGEST_FILE_BYTES", 100)
    (tmp_path / "large.yaml").write_text("a: 1 # " + "x" * 100)
    with pytest.raises(InputError, match=r"large.yaml: it has more than 100 bytes"):
        read_yaml(tmp_path / "large.yaml")
    with pytest.raises(InputError, match=r"^cannot read x+\.\.\.x+: File name too long$"):
        read_yaml(Path("x" * 5000))
    with pytest.raises(InputError, match="null"):
        read_yaml(Path("a\0b"))


def test_a_file_is_looked_for_beside_the_one_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path in ("here/a", "there/a", "here/b"):
        (tmp_path / path).write_text("")
    there = tmp_path / "there"
    assert file_named_in(there, "a") == str(there / "a")
    assert file_named_in(there, "b") == "b"  # as earlier versions took it
    assert file_named_in(there, "c") == "c"
    assert file_named_in(there, "/a") == "/a"
    assert file_named_in(there, "~/a") == "~/a"
    assert file_named_in(None, "a") == "a"


def _nonsense(random_: random.Random) -> str:
    """A text of YAML's own marks, words and numbers, nested at random."""
    parts = [
        "- ",
        "? ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a",
        "!!int ",
        "!x ",
        "|",
        ">",
        "'",
        '"',
        "#",
        "\n",
        "  ",
    ]
    words = [
        "a",
        "trials",
        "<<",
        "1e5",
        "0x",
        ".inf",
        "2026-02-30",
        "---",
        "...",
        "%YAML 1.1\n",
        "\t",
        "\0",
        "é",
        "\udc80",
    ]
    return "".join(random_.choice(parts + words) for _ in range(random_.randrange(1, 60)))


def test_no_text_ends_in_anything_but_a_value_or_one_line():
    random_, read, lines = random.Random(0), 0, []
    for _ in range(4000):
        text = _nonsense(random_)
        try:
            parse_yaml_value(text, "f.yaml")
            read += 1
        except InputError as refused:
            lines.append(str(refused))
    assert [line for line in lines if "\n" in line or len(line) > 500] == []
    assert 200 < read < 3800
