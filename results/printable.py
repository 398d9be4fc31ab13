"""Text that comes from files, made fit for a terminal."""

from typing import Any

LONGEST_VALUE = 80  # characters of a wrong value that a message shows


def printable(text: object) -> str:
    r"""A text on one line in which nothing moves a cursor, changes a colour or turns the writing round: each character
    that is not printable as its escape. Names, reasons and digests in a run's files may hold anything.

    >>> printable("red \x1b[31m")
    'red \\x1b[31m'
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same line by line, for a text whose own line ends are to stay."""
    return "\n".join(map(printable, text.split("\n")))


def shortened(value: Any, most: int = LONGEST_VALUE) -> str:
    """A value as a message quotes it: its `repr`, cut after so many characters."""
    text = printable(repr(value))
    return text if len(text) <= most else f"{text[: most - 3]}..."
