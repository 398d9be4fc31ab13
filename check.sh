#!/usr/bin/env bash
# Everything that must hold before a change is merged: lint, format, types, documentation and tests.
#
#   ./check.sh [PYTEST OPTIONS]             installs what it needs into the active virtual environment, or into .venv
#   ./check.sh --oldest [PYTEST OPTIONS]    only the tests, with every package at its lower bound, in .venv-oldest
set -euo pipefail
cd "$(dirname "$0")"

use_environment() {
    [ -x "$1/bin/python" ] || python3 -m venv "$1"
    export VIRTUAL_ENV="$PWD/$1" PATH="$PWD/$1/bin:$PATH"
}

if [ "${1:-}" = --oldest ]; then
    shift
    use_environment .venv-oldest
    python tests/lower_bounds.py > .venv-oldest/lower_bounds.txt
    python -m pip install --quiet --constraint .venv-oldest/lower_bounds.txt ".[test]"
else
    [ -n "${VIRTUAL_ENV:-}" ] || use_environment .venv
    python -m pip install --quiet ".[docs,test]"
    ruff check .
    ruff format --check .
    pyright --pythonpath "$(command -v python)"
    NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet  # mkdocs-material's notice about a future MkDocs
fi
# Two processors carry three processes of tests, because one of them mostly waits for Ray.
python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder --durations 10 "$@"
