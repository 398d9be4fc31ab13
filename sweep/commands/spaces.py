"""`gan-sweep spaces`."""

import argparse

ABOUT = "List the search spaces that come with the package, or print one."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares what may follow `gan-sweep spaces`."""
    part.add_argument("name", nargs="?", metavar="NAME", help="a shipped space, or a space's YAML file")


def execute(options: argparse.Namespace) -> int:
    """Prints the names of all, or one space. Returns the exit code."""
    from results.printable import printable_lines
    from search_spaces.describe import describe_space
    from search_spaces.space import SearchSpace, shipped_spaces

    if options.name is None:
        names = shipped_spaces()
        width = max(map(len, names))
        for name in names:
            print(f"{name:{width}}  {SearchSpace.load(name).about}")
        return 0
    print(printable_lines(describe_space(SearchSpace.load(options.name))))
    return 0
