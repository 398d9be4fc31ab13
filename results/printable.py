"""Text that comes from files, made fit for a terminal."""


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
