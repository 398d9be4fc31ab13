"""Names of a person's own code: `FILE.py[:NAME][#DIGEST]` or `package.module[:NAME][#DIGEST]`.

A person writes the file; what is recorded has the digest of its text, so that a configuration says exactly which code
it is of, on every machine, and changed code is another configuration. Loads without torch.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gan_core.config.input_error import InputError, shown

DIGEST_LENGTH = 12
NETWORKS = "structure.networks"
IN_PYTHON = "classes"  # the value of structure.networks where classes are given in Python, and are in no file
TRAINER = "structure.trainer"
REFERENCES = (NETWORKS, TRAINER, "structure.dataset", "structure.loss")  # hyperparameters that may name own code
MOST_FILES, MOST_CHARACTERS = 200, 2_000_000  # of the code of one reference
_FORM = re.compile(
    r"(?P<place>[^:#]+?\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?::(?P<name>[A-Za-z_]\w*))?(?:#(?P<digest>[0-9a-f]{12}))?"
)


@dataclass(frozen=True)
class Reference:
    """A reference to a person's code. place: a path that ends in `.py`, or the dotted name of a module. name: what is
    meant in it, `Generator`, or empty. digest: of the text of the code; empty where a person has written the reference.
    """

    place: str
    name: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return self.place + f":{self.name}" * bool(self.name) + f"#{self.digest}" * bool(self.digest)

    @property
    def is_file(self) -> bool:
        """Whether the place is a path; else it is the dotted name of a module."""
        return self.place.endswith(".py")


def is_reference(text: object) -> bool:
    """Whether a text has the form of a reference to a person's code.

    >>> [is_reference(text) for text in ("my_gan.py", "my_gan.py:train_set", "pkg.gan:Net", "digits", "images:a.py")]
    [True, True, True, False, False]
    """
    return isinstance(text, str) and _FORM.fullmatch(text) is not None


def score_of(objective: str) -> str:
    """The name of the score that an objective minimises, or of which it minimises the negative.

    >>> [score_of(objective) for objective in ("fid", "-coverage", "my_gan.py:my_score#0123456789ab")]
    ['fid', 'coverage', 'my_score']
    """
    objective = objective.removeprefix("-")
    return parse_reference("objective", objective).name if is_reference(objective) else objective


def parse_reference(key: str, text: object) -> Reference:
    """Parses a reference. key: the key of a file where it stands, for the message. Raises InputError for another form.

    >>> parse_reference("structure.loss", "my_gan.py:my_loss#0123456789ab")
    Reference(place='my_gan.py', name='my_loss', digest='0123456789ab')
    """
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InputError(f"{key} must be FILE.py or package.module, with :NAME where one is needed, got {shown(text)}")
    return Reference(found["place"], found["name"] or "", found["digest"] or "")


def same_but_for_text(one: object, other: object) -> bool:
    """Whether two values refer to the same name in the same file or module, whatever its text is.

    >>> same_but_for_text("my_gan.py#0123456789ab", "my_gan.py#ba9876543210"), same_but_for_text("digits", "digits")
    (True, False)
    """
    if not (is_reference(one) and is_reference(other)):
        return False
    return str(one).partition("#")[0] == str(other).partition("#")[0]


@dataclass(frozen=True)
class OwnCode:
    """The text of a person's code: (path, text) of each file, relative to one folder, the first that of the reference.

    module: the dotted name under which the first file is imported. Raises InputError where it is too much to be carried
    along with a run.
    """

    module: str
    files: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        characters = sum(len(text) for _, text in self.files)
        if len(self.files) > MOST_FILES or characters > MOST_CHARACTERS:
            raise InputError(
                f"own code may be {MOST_FILES} files of {MOST_CHARACTERS:,} characters together, got {len(self.files)} "
                f"of {characters:,} beside {shown(self.files[0][0])}; install it as a package and name its module"
            )
        for path, _ in self.files:
            if path.startswith(("/", "~")) or ".." in path.split("/") or not path.endswith(".py"):
                raise InputError(f"a file of own code must be a relative path to a .py file, got {shown(path)}")

    @property
    def digest(self) -> str:
        """Of the module's name and of all paths and texts."""
        digest = hashlib.sha256(self.module.encode())
        for path, text in sorted(self.files):
            digest.update(f"\0{path}\0{len(text)}\0{text}".encode())
        return digest.hexdigest()[:DIGEST_LENGTH]

    def plain(self) -> dict[str, Any]:
        """As it is written in YAML."""
        return {"module": self.module, "files": dict(self.files)}


def parse_code(value: Any) -> tuple[OwnCode, ...]:
    """The value of the key `code` of a file: digest -> what `OwnCode.plain` returned. Raises InputError where it is
    not, and where a text does not have the digest that it is kept under.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"code must map digests to files, got {shown(value)}")
    found = []
    for digest, part in value.items():
        files = part.get("files") if isinstance(part, Mapping) else None
        texts = isinstance(files, Mapping) and all(isinstance(t, str) for pair in files.items() for t in pair)
        if not isinstance(files, Mapping) or not files or not texts or not isinstance(part.get("module"), str):
            raise InputError(f"code {shown(digest)} must have a module and files with their texts, got {shown(part)}")
        code = OwnCode(part["module"], tuple(files.items()))
        if code.digest != digest:
            raise InputError(
                f"the code of {shown(code.files[0][0])} was changed in this file: its digest is {code.digest}, not "
                f"{shown(digest)}; it is a copy: take it back, change a file of your own, and name that without #DIGEST"
            )
        found.append(code)
    return tuple(found)


def plain_code(codes: Iterable[OwnCode]) -> dict[str, Any]:
    """The value of the key `code` of a file, which `parse_code` reads."""
    return {code.digest: code.plain() for code in codes}
