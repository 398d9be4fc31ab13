"""Files that only grow, as pieces: objects cannot be appended to."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from results.manifest import Piece


def kept_pieces(path: Path, pieces: Sequence[Piece]) -> list[Piece]:
    """The first pieces that are still what the file begins with. All of them, as a rule: a study that is opened cuts
    off what its predecessor did not finish.
    """
    kept = []
    with path.open("rb") as file:
        for piece in pieces:
            if hashlib.sha256(file.read(piece.size_bytes)).hexdigest() != piece.digest:
                break
            kept.append(piece)
    return kept


def ends_with(path: Path, pieces: Sequence[Piece]) -> bool:
    """Whether the file has its last piece where it was. If so, nothing was cut off and written again since."""
    if not pieces:
        return True
    with path.open("rb") as file:
        file.seek(sum(piece.size_bytes for piece in pieces[:-1]))
        return hashlib.sha256(file.read(pieces[-1].size_bytes)).hexdigest() == pieces[-1].digest


def still_good(pieces: Sequence[Piece], size_bytes: int) -> list[Piece]:
    """The pieces beside which the rest of a file of this size is one new piece.

    The new piece takes in those before it that are no larger than itself. So a file of n appends has about log2(n)
    pieces, of which another machine makes it by as many requests, and each byte is written about log2(n) times.
    """
    good, left = list(pieces), size_bytes - sum(piece.size_bytes for piece in pieces)
    while good and good[-1].size_bytes <= left:
        left += good.pop().size_bytes
    return good
