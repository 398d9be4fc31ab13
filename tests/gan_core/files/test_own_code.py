"""A person's own code: pinned by its digest, carried along, and imported from the text that it was pinned with."""

import importlib
import sys
from pathlib import Path

import pytest

from gan_core.config.input_error import InputError
from gan_core.config.own_names import parse_reference
from gan_core.files import own_code
from gan_core.files.own_code import (
    OwnCodeError,
    bring,
    code_of,
    own_module,
    own_object,
    pinned,
    their_traceback,
    theirs,
    with_digests,
)


@pytest.fixture(autouse=True)
def apart(monkeypatch, tmp_path):
    """A process that knows no code, with a cache of its own."""
    monkeypatch.setattr(own_code, "_codes", {})
    monkeypatch.setattr(own_code, "_modules", {})
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))
    before = dict(sys.modules)
    yield
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def forget() -> None:
    own_code._codes.clear()
    own_code._modules.clear()


def test_a_reference_gets_the_digest_of_the_file_and_loses_the_folder(tmp_path):
    (tmp_path / "nets").mkdir()
    written(tmp_path / "nets", mine="x = 1\n")
    text = pinned("structure.networks", "nets/mine.py:x", tmp_path)
    assert text == f"mine.py:x#{code_of([text])[0].digest}"
    assert pinned("structure.networks", text, None) == text
    assert own_object(text) == 1


def test_code_that_was_brought_is_imported_whatever_has_become_of_the_file(tmp_path):
    text = pinned("structure.networks", str(written(tmp_path, mine="x = 1\n") / "mine.py"), None)
    code = code_of([text])
    (tmp_path / "mine.py").unlink()
    forget()
    bring(code)
    assert own_object(text, "x") == 1
    assert "own-code" in str(own_module(text).__file__)


def test_the_files_beside_it_that_it_imports_come_along_and_no_others(tmp_path):
    (tmp_path / "parts").mkdir()
    written(tmp_path, mine="import layers\nfrom parts import blocks\nx = layers.x + blocks.y\n", other="x = 3\n")
    written(tmp_path, layers="import math\nx = 1\n")
    written(tmp_path / "parts", __init__="", blocks="y = 10\n", unused="")
    text = pinned("structure.networks", "mine.py", tmp_path)
    assert {path for path, _ in code_of([text])[0].files} == {
        *("mine.py", "layers.py", "parts/__init__.py", "parts/blocks.py")
    }
    assert own_object(text, "x") == 11
    written(tmp_path, layers="x = 2\n")
    assert pinned("structure.networks", "mine.py", tmp_path) != text


def test_what_is_imported_only_when_it_is_called_is_found(tmp_path):
    written(tmp_path, mine="def late():\n    from seldom_used import x\n    return x\n", seldom_used="x = 6\n")
    assert own_object(pinned("structure.networks", "mine.py", tmp_path), "late")() == 6


def test_a_file_that_uses_itself_while_it_is_imported_is_refused_in_one_line(tmp_path):
    text = "from gan_core.files.own_code import own_module, pinned\nown_module(pinned('train', {!r}, None))\n"
    (tmp_path / "mine.py").write_text(text.format(str(tmp_path / "mine.py")))
    for _ in range(2):
        with pytest.raises(InputError, match="uses itself while it is imported; begin a sweep under if __name__"):
            own_module(pinned("train", "mine.py", tmp_path))


def test_two_files_of_one_name_are_two_modules(tmp_path):
    found = []
    for number in (1, 2):
        (folder := tmp_path / str(number)).mkdir()
        written(folder, mine="import layers\nx = layers.x\n", layers=f"x = {number}\n")
        found.append(pinned("structure.networks", "mine.py", folder))
    assert [own_object(text, "x") for text in found] == [1, 2]
    assert [own_object(text, "x") for text in reversed(found)] == [2, 1]


def test_a_module_is_found_by_its_name_in_the_folder_with_its_package(tmp_path):
    (tmp_path / "pack" / "sub").mkdir(parents=True)
    written(tmp_path / "pack", __init__="", gan="from pack.sub import nets\nx = nets.x\n")
    written(tmp_path / "pack" / "sub", __init__="", nets="x = 5\n")
    text = pinned("structure.networks", "pack.gan:x", tmp_path)
    assert text.startswith("pack.gan:x#")
    code = code_of([text])
    assert [path for path, _ in code[0].files][0] == "pack/gan.py"
    assert len(code[0].files) == 4
    forget()
    bring(code)
    assert own_object(text) == 5


def test_relative_imports_and_what_a_package_imports_beside_itself_come_along(tmp_path, monkeypatch):
    (tmp_path / "here" / "pack" / "sub").mkdir(parents=True)
    here = tmp_path / "here"
    written(here, mine="from pack.gan import x\n", beside="x = 2\n", unused="")
    written(
        here / "pack", __init__="", gan="from .sub.nets import x\nfrom . import more\nx += more.x\n", more="x = 10\n"
    )
    written(here / "pack" / "sub", __init__="", nets="import beside\nfrom .. import more\nx = beside.x + more.x\n")
    texts = [pinned("structure.networks", name, here) for name in ("mine.py", "pack.gan")]
    code = code_of(texts)
    package = {
        "pack/__init__.py",
        "pack/gan.py",
        "pack/more.py",
        "pack/sub/__init__.py",
        "pack/sub/nets.py",
        "beside.py",
    }
    assert [{path for path, _ in one.files} for one in code] == [package | {"mine.py"}, package]
    here.rename(tmp_path / "gone")
    forget()
    bring(code)
    assert [own_object(text, "x") for text in texts] == [22, 22]


def test_an_installed_module_is_named_and_not_copied_whole():
    text = pinned("structure.networks", "torch.nn:Linear", None)
    assert [path for path, _ in code_of([text])[0].files] == ["torch/nn/__init__.py"]
    from torch import nn

    assert own_object(text) is nn.Linear


def test_values_of_a_file_get_their_digests_and_others_stay(tmp_path):
    written(tmp_path, mine="x = 1\n")
    values = {
        "structure.networks": "mine.py",
        "structure.dataset": "digits",
        "structure.loss": {"choices": ["hinge", "mine.py:loss"]},
        "lane.beta1": 0.5,
    }
    found = with_digests(tmp_path, values)
    digest = parse_reference("structure.networks", found["structure.networks"]).digest
    assert found == {
        "structure.networks": f"mine.py#{digest}",
        "structure.dataset": "digits",
        "structure.loss": {"choices": ["hinge", f"mine.py:loss#{digest}"]},
        "lane.beta1": 0.5,
    }


def test_classes_are_given_as_they_stand_whatever_their_names_and_files_are(tmp_path):
    written(tmp_path, nets="import parts\n\n\nclass Painter:\n    x = parts.x\n", parts="x = 3\n")
    (tmp_path / "judging").mkdir()
    written(
        tmp_path / "judging",
        __init__="",
        judges="from . import more\n\n\nclass Judge:\n    y = more.y\n",
        more="y = 4\n",
    )
    with own_code._importing_from(str(tmp_path)):
        painter, judge = importlib.import_module("nets").Painter, importlib.import_module("judging.judges").Judge
    text = with_digests(None, {"structure.networks": (painter, judge)})["structure.networks"]
    code = code_of([text])
    assert {path for path, _ in code[0].files} == {
        *("gan_sweep_classes.py", "nets.py", "parts.py"),
        *("judging/__init__.py", "judging/judges.py", "judging/more.py"),
    }
    forget()
    bring(code)
    assert (own_object(text, "Generator").x, own_object(text, "Discriminator").y) == (3, 4)


def test_what_is_no_class_or_in_no_file_is_refused():
    nowhere = type("Nowhere", (), {"__module__": "builtins"})
    for given, says in (
        (nowhere, "the class Nowhere is in no file"),
        (3, r"two classes, Generator and Discriminator, got \(3, 3\)"),
    ):
        with pytest.raises(InputError, match=says):
            with_digests(None, {"structure.networks": (given, given)})


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("absent.py", "structure.networks: cannot read 'absent.py': No such file or directory"),
        ("nopackage.gan", "structure.networks: nopackage.gan cannot be found: ModuleNotFoundError"),
        ("torch.absent", "structure.networks: there is no module 'torch.absent'"),
        ("latin.py", "it is no UTF-8 text"),
        ("mine.py#0123456789ab", "has digest"),
    ],
)
def test_code_that_cannot_be_had_is_named_in_one_line(tmp_path, reference, says):
    written(tmp_path, mine="x = 1\n")
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    with pytest.raises(InputError, match=says) as refusal:
        pinned("structure.networks", reference, tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_name_that_is_not_there_and_code_that_was_not_brought_are_named(tmp_path):
    text = pinned("structure.networks", "mine.py", written(tmp_path, mine="import math\nclass Generator: ...\n"))
    other = pinned(
        "x", "other.py", written(tmp_path, other="from math import *\nfrom abc import ABC\ntrain_set = [1]\n")
    )
    with pytest.raises(InputError, match=r"other\.py has no 'absent'; known: .*train_set$") as refused:
        own_object(other, "absent")
    assert "ABC" not in str(refused.value)
    with pytest.raises(InputError, match=r"mine\.py has no 'Generater'; did you mean 'Generator'\?"):
        own_object(text, "Generater")
    with pytest.raises(InputError, match=r"mine\.py has no 'absent'; known: Generator$"):
        own_object(text, "absent")
    with pytest.raises(InputError, match=r"must have a name after it, mine\.py:NAME; it defines Generator$"):
        own_object(text)
    with pytest.raises(InputError, match="the code of 'mine.py#0123456789ab' is not here"):
        own_module("mine.py#0123456789ab")


@pytest.mark.parametrize(
    ("source", "says", "shows"),
    [
        ("import math\n\nx = math.absent\n", "AttributeError: module 'math' has no attribute", "x = math.absent"),
        ("def f(:\n", "SyntaxError", "def f(:"),
        ("import notthere\n", "ModuleNotFoundError: No module named 'notthere'", "import notthere"),
        ("import sys\nsys.exit(0)\n", "SystemExit: 0", "sys.exit(0)"),
        ("class Odd(BaseException): ...\n\n\nraise Odd(1)\n", "Odd: 1", "raise Odd(1)"),
        ("raise GeneratorExit\n", "GeneratorExit: no message", "raise GeneratorExit"),
    ],
)
def test_an_error_of_theirs_is_one_line_and_their_traceback(tmp_path, source, says, shows):
    text = pinned("structure.networks", "mine.py", written(tmp_path, mine=source))
    with pytest.raises(OwnCodeError, match=says) as refusal:
        own_module(text)
    assert "\n" not in str(refusal.value)
    assert shows in refusal.value.theirs
    assert "own_code.py" not in refusal.value.theirs  # nothing of ours


def test_errors_of_ours_a_lack_of_memory_and_an_interruption_pass_through():
    for error in (InputError("ours"), MemoryError(), RuntimeError("CUDA out of memory"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as passed, theirs("it failed"):
            raise error
        assert passed.value is error
    assert their_traceback(ValueError("nowhere")) == ""
    with pytest.raises(OwnCodeError, match="it failed: ValueError: no message"), theirs("it failed"):
        raise ValueError
