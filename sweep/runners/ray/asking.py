"""Asking an actor over a link that may be cut."""

import importlib
import time
from collections.abc import Callable
from typing import Any

PAUSE_SECONDS = 1.0  # before it is asked again, where Ray says at once that it is out of reach


class OutOfReach(Exception):
    """An actor beside the driver did not answer for long: the machine of this process was cut off from it."""


def answer_of(call: Callable[[], Any], called: Any, wait_seconds: float, patience_seconds: float) -> Any:
    """The answer of an actor. call: calls it, and returns Ray's reference to the answer; called: what that returned.

    While a link is cut, Ray loses the answers that are under way, and may notice it after minutes. So no answer is
    waited for without a bound: after wait_seconds, and then each time after twice as long, the actor is called again,
    to which that must be harmless. Raises what the actor raises, and OutOfReach after patience_seconds, or up to half
    as many more.
    """
    ray = importlib.import_module("ray")
    began = time.monotonic()
    while True:
        try:
            return ray.get(called, timeout=wait_seconds)
        except ray.exceptions.GetTimeoutError as error:
            silence = error
        except ray.exceptions.ActorUnavailableError as error:
            silence = error
            time.sleep(PAUSE_SECONDS)
        if time.monotonic() - began > patience_seconds:
            raise OutOfReach(f"no answer for {patience_seconds:g} seconds") from silence
        wait_seconds = min(2 * wait_seconds, patience_seconds / 2)
        called = call()
