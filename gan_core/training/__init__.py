"""Trains an array of GANs: its state, what lanes are fed, the ways of carrying out steps, Adam, and what is watched.

It may import all packages before it. `lane_array.LaneArray` is what others use, and `checkpoint` keeps its state in
files. `steps` has one class for each way of carrying out the steps of a `chunk`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_core.training.checkpoint import load_tensors, save_tensors
    from gan_core.training.fastest import fastest_execution
    from gan_core.training.lane_array import LaneArray

__all__ = ["LaneArray", "fastest_execution", "load_tensors", "save_tensors"]


def __getattr__(name: str) -> Any:
    """A main name, whose module is loaded only now: torch takes a second to load."""
    match name:
        case "load_tensors" | "save_tensors":
            from gan_core.training import checkpoint as home
        case "fastest_execution":
            from gan_core.training import fastest as home
        case "LaneArray":
            from gan_core.training import lane_array as home
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
