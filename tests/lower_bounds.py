"""Prints pip constraints that hold every package at its lower bound in pyproject.toml, for `check.sh --oldest`."""

import re
import tomllib
from pathlib import Path

BOUND = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<version>[\w.]+)")


def lower_bounds() -> list[str]:
    """`name==version` for each package of the project and of its extras, but for those of the documentation."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    extras = [wanted for name, extra in project["optional-dependencies"].items() if name != "docs" for wanted in extra]
    found = filter(None, map(BOUND.match, [*project["dependencies"], *extras]))
    return [f"{bound['name']}=={bound['version']}" for bound in found]


if __name__ == "__main__":
    print("\n".join(lower_bounds()))
