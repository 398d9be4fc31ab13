"""Notice: whether the node of this process is to be taken away soon."""

import threading

from sweep.runners.ray.node_table import draining_nodes

ASK_SECONDS = 2.0  # between two questions; clouds give notice half a minute before, or more


class Notice:
    """Asks Ray again and again, from a thread, whether a node is being drained. node: its id."""

    def __init__(self, node: str, ask_seconds: float = ASK_SECONDS) -> None:
        self._node, self._ask_seconds, self._given = node, ask_seconds, threading.Event()
        threading.Thread(target=self._ask, daemon=True).start()

    @property
    def is_given(self) -> bool:
        """Whether it is, as far as Ray has told. A node that is once drained is never used again."""
        return self._given.is_set()

    def _ask(self) -> None:
        while self._node not in draining_nodes():
            threading.Event().wait(self._ask_seconds)
        self._given.set()
