"""A line below the cell of a notebook, which is renewed in its place."""

import sys
from html import escape
from typing import Any


def notebook_line() -> "NotebookLine | None":
    """A line for the notebook whose kernel this process is; None where it is none. Nothing is loaded to find out: a
    kernel has loaded IPython.
    """
    kernel, ipython = sys.modules.get("ipykernel.zmqshell"), sys.modules.get("IPython")
    if kernel is None or ipython is None:
        return None
    return NotebookLine() if isinstance(ipython.get_ipython(), kernel.ZMQInteractiveShell) else None


class NotebookLine:
    """Shows a line of text below the cell that is executed when it is first shown, and then others in its place."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Shows this text instead of what was shown before."""
        from IPython.display import display

        form = f'<pre style="margin: 0; white-space: pre-wrap">{escape(text)}</pre>'
        shown = {"text/plain": text, "text/html": form}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)
