"""Makes text from files safe to print on a terminal."""


def printable(text: object) -> str:
    r"""The text on one line, with every character that is not printable replaced by its escape.

    Names, reasons and digests in a run's files may hold characters that move the cursor, change colours or reverse the
    direction of writing.

    >>> printable("red \x1b[31m")
    'red \\x1b[31m'
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """Applies `printable` to each line of a text, whose line ends are kept."""
    return "\n".join(map(printable, text.split("\n")))
