"""`gan-sweep spaces`."""

import argparse

ABOUT = "List the search spaces that come with the package, or print one."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep spaces`."""
    part.add_argument("name", nargs="?", metavar="NAME", help="a shipped space, or the YAML file of a space")


def execute(options: argparse.Namespace) -> int:
    """Prints the names of all shipped spaces, or one space. Returns the exit code."""
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
