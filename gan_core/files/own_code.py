"""A person's own code: read with the files beside it that it imports, carried along with a run, and imported.

It is the only part of a run that is executed. The text is kept by its digest: every process of a run imports the text
that the run began with, from the cache folder, whatever has become of the file.
"""

import ast
import importlib
import importlib.util
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from gan_core.config.input_error import InputError, nearest, shortened, shown
from gan_core.config.own_names import NETWORKS, REFERENCES, TRAINER, OwnCode, Reference, is_reference, parse_reference
from gan_core.files.cache import writable_cache_folder
from gan_core.files.plain_yaml import file_named_in
from gan_core.files.process_settings import settings_kept
from gan_core.files.read_files import States, files_read, note
from gan_core.files.whole_files import appearing_whole

FOLDER = "own-code"  # in the cache folder
CLASSES = "gan_sweep_classes"  # the module of classes that are given in Python
NO_MEMORY = ("allocate memory", "out of memory", "STATUS_ALLOC_FAILED")  # parts of messages of torch and CUDA
_codes: dict[str, OwnCode] = {}  # digest -> what this process knows of
_modules: dict[str, tuple[ModuleType, States]] = {}  # digest -> what it has imported, and what that has read
_being_imported = set[str]()  # digests


class OwnCodeError(InputError):
    """An error in a person's own code. theirs: the traceback from their first line on, "" where it has none of it."""

    def __init__(self, message: str, theirs: str = "") -> None:
        super().__init__(message)
        self.theirs = theirs

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnCodeError, (str(self), self.theirs)


def bring(codes: Iterable[OwnCode]) -> None:
    """Makes code known to this process that another one has read."""
    for code in codes:
        _codes[code.digest] = code


def pinned(key: str, text: Any, folder: Path | None) -> str:
    """A reference with the digest of the code that it names now, which this process knows from then on. Where it has a
    digest already, that code must be known, or be what the file still holds.

    key: where the reference stands, for messages. folder: that of the file with the reference, where paths are looked
    up first. Raises InputError where there is no such file or module, and where it holds another text.
    """
    reference = parse_reference(key, text)
    if reference.digest in _codes:
        return text
    code = _read(key, reference, folder)
    if reference.digest and reference.digest != code.digest:
        raise InputError(
            f"{key} is {shown(text)}, and the code in {shortened(code.files[0][0])} here has digest {code.digest}; "
            "bring the code of that digest, or leave #DIGEST out to take this one"
        )
    _codes[code.digest] = code
    place = code.files[0][0] if reference.is_file else reference.place
    return str(replace(reference, place=place, digest=code.digest))


def pinned_classes(key: str, classes: Sequence[Any]) -> str:
    """A pinned reference to two classes as they stand in Python, whatever their names and files are: to a module of two
    lines that imports them. Raises InputError for what is not two classes, or is in no file, as in a notebook.
    """
    if len(classes) != 2 or not all(isinstance(given, type) for given in classes):
        raise InputError(f"{key} must be FILE.py, or two classes, Generator and Discriminator, got {shown(classes)}")
    texts, lines = dict[str, str](), list[str]()
    for name, given in zip(("Generator", "Discriminator"), classes, strict=True):
        try:
            path = Path(inspect.getfile(given))
        except (TypeError, OSError):
            path = Path()
        if path.suffix != ".py":
            raise InputError(
                f"{key}: the class {given.__name__} is in no file, which other processes need; put it in one"
            )
        module, folder = given.__module__, path.parents[given.__module__.count(".") + (path.stem == "__init__")]
        if path not in _files_of(folder, module):  # of a script, which is `__main__`
            module, folder = path.stem, path.parent
        texts |= {} if _is_installed(path) else dict(_with_neighbours(key, folder, _files_of(folder, module)))
        lines.append(f"from {module} import {given.__qualname__} as {name}\n")
    code = OwnCode(CLASSES, ((f"{CLASSES}.py", "".join(lines)), *texts.items()))
    _codes[code.digest] = code
    return str(Reference(f"{CLASSES}.py", digest=code.digest))


def with_digests(folder: Path | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Base values or ranges as written in a file of this folder, in which references to own code have its digest. In
    Python, `structure.networks` may be the two classes themselves. Raises InputError as `pinned` does, and for networks
    and a training that are no reference to a file or module and to a class.
    """

    def one(key: str, value: Any) -> Any:
        if isinstance(value, Mapping) and isinstance(value.get("choices"), list):
            choices = [pinned(key, each, folder) if is_reference(each) else each for each in value["choices"]]
            return {**value, "choices": choices}
        if key == NETWORKS and isinstance(value, tuple | list):
            return pinned_classes(key, value)
        if key == NETWORKS and is_reference(value) and (name := parse_reference(key, value).name):
            raise InputError(
                f"{key} must name a file or a module, with classes Generator and Discriminator, got {shown(value)}; "
                f"leave :{name} out"
            )
        if is_reference(value) or (key in (NETWORKS, TRAINER) and value != ""):
            return pinned(key, value, folder)
        return value

    return {key: one(key, value) if key in REFERENCES else value for key, value in values.items()}


def code_of(references: Iterable[str]) -> tuple[OwnCode, ...]:
    """The code of references that have been pinned, each once, to be carried along."""
    digests = dict.fromkeys(parse_reference("a reference", text).digest for text in references)
    return tuple(_codes[digest] for digest in digests)


def module_and_files(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The dotted name of the module of a pinned reference, and the files that it needs beside what imports it: (path,
    text) of each. None where it is installed.
    """
    code = _codes[parse_reference("a reference", text).digest]
    return code.module, () if _is_found_installed(code.module) else code.files


def own_module(text: str) -> ModuleType:
    """The module that a pinned reference names, imported once in a process, whose settings stay as they are. Raises
    OwnCodeError for what importing it raises, and InputError where this process does not know the code.
    """
    reference = parse_reference("a reference", text)
    if reference.digest not in _codes:
        raise InputError(f"the code of {shown(text)} is not here; keep the 'code:' of the file that names it")
    if reference.digest in _being_imported:
        raise InputError("the file uses itself while it is imported; begin a sweep under if __name__ == '__main__':")
    if reference.digest not in _modules:
        _being_imported.add(reference.digest)
        try:
            with theirs(f"{reference.place} cannot be imported"), settings_kept():
                _modules[reference.digest] = _imported(_codes[reference.digest])
        finally:
            _being_imported.remove(reference.digest)
    module, read = _modules[reference.digest]
    note(read)
    return module


def own_object(text: str, name: str = "") -> Any:
    """What a pinned reference names, or `name` in its module. Raises InputError where the module has no such name, and
    as `own_module` does.
    """
    reference, module = parse_reference("a reference", text), own_module(text)
    wanted = name or reference.name
    if not wanted or not hasattr(module, wanted):
        own = [known for known, value in vars(module).items() if not known.startswith("_") and _is_of(module, value)]
        has = nearest(wanted, own) if wanted and own else f"it defines {', '.join(own) or 'nothing'}"
        fault = f"has no {shown(wanted)}" if wanted else f"must have a name after it, {reference.place}:NAME"
        raise InputError(f"{reference.place} {fault}; {has}")
    return getattr(module, wanted)


def _is_of(module: ModuleType, value: Any) -> bool:
    """Whether a module defines what it has under a name: a class or function of its own, or any other object."""
    is_imported = inspect.ismodule(value) or inspect.isclass(value) or inspect.isroutine(value)
    return not is_imported or getattr(value, "__module__", None) == module.__name__


@contextmanager
def theirs(what: str) -> Iterator[None]:
    """Within this context a person's own code runs: what it raises becomes an OwnCodeError with their traceback. what:
    what could not be done, for the message. Interruptions, lack of memory and errors of ours pass through.
    """
    try:
        yield
    except (InputError, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a person's own code may raise anything, and end the process
        if any(said in str(error) for said in NO_MEMORY):
            raise
        shown_traceback = their_traceback(error)
        where = their_line(error)
        said = shortened(" ".join(str(error).split())) or "no message"
        raise OwnCodeError(f"{what}: {type(error).__name__}: {said}{where}", shown_traceback) from error


def their_traceback(error: BaseException) -> str:
    """The traceback of an error from the first line of a person's own code on; "" where it has no such line."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((place for place, frame in enumerate(frames) if _is_theirs(frame.filename)), None)
    if isinstance(error, SyntaxError):
        return "".join(traceback.format_exception_only(error))
    if first is None:
        return ""
    lines = [*traceback.format_list(frames[first:]), *traceback.format_exception_only(error)]
    return "".join(["Traceback, from your code on:\n", *lines])


def their_line(error: BaseException) -> str:
    """The last line of a person's own code in the traceback of an error, in words; "" where it has none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _is_theirs(path: str) -> bool:
    return f"/{FOLDER}/" in path


def _read(key: str, reference: Reference, folder: Path | None) -> OwnCode:
    """Reads the code of a reference from where it was written."""
    if reference.is_file:
        path = Path(file_named_in(folder, reference.place)).expanduser()
        return OwnCode(path.stem, tuple(_with_neighbours(key, path.parent, [path])))
    return _read_module(key, reference, folder)


def _with_neighbours(key: str, folder: Path, paths: Sequence[Path]) -> list[tuple[str, str]]:
    """These files, and all in their folder that they import, directly or not: (path from the folder, text) of each."""
    found: dict[str, str] = {}
    waiting = list(paths)
    while waiting:
        one = waiting.pop(0)
        name = one.relative_to(folder)
        if name.as_posix() not in found:
            text = found[name.as_posix()] = _text(key, one)
            waiting += [each for module in _imports(text, name.parts[:-1]) for each in _files_of(folder, module)]
    return list(found.items())


def _text(key: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(f"{key}: cannot read {shown(str(path))}: {why}; name a Python file") from error


def _imports(text: str, package: Sequence[str]) -> list[str]:
    """The dotted names that a module of this package imports, without running it; none where it is no Python, which
    importing says.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()  # `from ..a import b` has level 2
            if module := ".".join([*above, *([node.module] if node.module else [])]):
                names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return names


def _files_of(folder: Path, module: str) -> list[Path]:
    """The files in a folder that importing a module runs: it, and the packages above it."""
    parts = module.split(".")
    packages = [folder.joinpath(*parts[: i + 1], "__init__.py") for i in range(len(parts))]
    return [path for path in (*packages, folder.joinpath(*parts).with_suffix(".py")) if path.is_file()]


def _read_module(key: str, reference: Reference, folder: Path | None) -> OwnCode:
    """The code of a module by its dotted name: that of its whole package, and what this imports in the package's
    folder, or its file alone where it is installed.
    """
    places = [str(path) for path in (folder, Path.cwd()) if path is not None]
    with _importing_from(*places), theirs(f"{key}: {reference.place} cannot be found"):
        found = importlib.util.find_spec(reference.place)
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise InputError(f"{key}: there is no module {shown(reference.place)}; name a file, or install its package")
    file = Path(found.origin)
    levels = reference.place.count(".") + (file.name == "__init__.py")
    top = file.parents[levels]
    if _is_installed(file):
        return OwnCode(reference.place, ((file.relative_to(top).as_posix(), _text(key, file)),))
    package = sorted(file.parents[levels - 1].rglob("*.py"))
    return OwnCode(reference.place, tuple(_with_neighbours(key, top, [file, *package])))


def _is_found_installed(module: str) -> bool:
    """Whether this is the dotted name of a module of an installed package."""
    try:
        found = importlib.util.find_spec(module) if "." in module else None
    except ModuleNotFoundError:  # the package above it is not there
        return False
    return bool(found and found.origin and _is_installed(Path(found.origin)))


def _is_installed(file: Path) -> bool:
    return bool({"site-packages", "dist-packages"} & {*file.parts}) or file.is_relative_to(sysconfig.get_path("stdlib"))


def _imported(code: OwnCode) -> tuple[ModuleType, States]:
    """Imports code from the cache folder, where it is written first; what is installed, from where it is. Returns also
    the files that the code has read meanwhile.
    """
    if _is_found_installed(code.module):
        return importlib.import_module(code.module), {}
    folder = writable_cache_folder() / FOLDER / code.digest
    for path, text in code.files:
        place = folder / path
        if not place.is_file() or place.read_text(encoding="utf-8") != text:
            place.parent.mkdir(parents=True, exist_ok=True)
            with appearing_whole(place, synced=False) as partial:
                partial.write_text(text, encoding="utf-8")
    tops = {Path(path).parts[0].removesuffix(".py") for path, _ in code.files}
    with _set_aside(tops), _importing_from(str(folder)), files_read() as read:
        module = importlib.import_module(code.module)
    sys.path.append(str(folder))  # last, for what it imports only when it is called
    return module, read


@contextmanager
def _set_aside(names: Iterable[str]) -> Iterator[None]:
    """Modules of these names that are loaded already, which may be others of the same name, are not found within this
    context, and what is imported in it is forgotten by its name afterwards, if others had it.
    """
    tops = set(names)
    loaded = dict(sys.modules)  # a copy, because other threads import too
    before = {name: module for name, module in loaded.items() if name.partition(".")[0] in tops}
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(before)


@contextmanager
def _importing_from(*folders: str) -> Iterator[None]:
    """These folders are the first that modules are looked for in."""
    before: Sequence[str] = list(sys.path)
    sys.path[:0] = folders
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
