#!/usr/bin/env bash
# Everything that must hold before a change lands: installs what it needs, then lint, format, types and tests.
# Runs in the active virtual environment, or makes .venv beside this file. Of three processes of tests one mostly waits for Ray.
set -euo pipefail
cd "$(dirname "$0")"
if [ -z "${VIRTUAL_ENV:-}" ]; then
    [ -x .venv/bin/python ] || python3 -m venv .venv
    PATH="$PWD/.venv/bin:$PATH"
    export VIRTUAL_ENV="$PWD/.venv"
fi
python -m pip install --quiet ".[test]"
ruff check .
ruff format --check .
pyright --pythonpath "$(command -v python)"
python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder --durations 10 "$@"
