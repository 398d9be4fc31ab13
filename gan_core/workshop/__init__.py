"""The interface for sweeps and final trainings: scored arrays, the training of one model, estimates of memory.

`workshop.Workshop` builds scored arrays, `one_model.train_model` trains a single model, `saved_generator` draws from
one, and `memory.lane_memory` estimates what an array needs before it is built. This package may import every other
package of `gan_core`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_core.workshop.memory import lane_memory
    from gan_core.workshop.one_model import train_model
    from gan_core.workshop.saved_generator import sample_generator
    from gan_core.workshop.scored_array import ScoredArray
    from gan_core.workshop.workshop import Workshop, load_data

__all__ = ["ScoredArray", "Workshop", "lane_memory", "load_data", "sample_generator", "train_model"]


def __getattr__(name: str) -> Any:
    """A main name, whose module is loaded only now: torch takes a second to load."""
    match name:
        case "lane_memory":
            from gan_core.workshop import memory as home
        case "sample_generator":
            from gan_core.workshop import saved_generator as home
        case "train_model":
            from gan_core.workshop import one_model as home
        case "ScoredArray":
            from gan_core.workshop import scored_array as home
        case "Workshop" | "load_data":
            from gan_core.workshop import workshop as home
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
