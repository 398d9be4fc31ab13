"""Measures how good generated samples are: distances to held-out real samples, each with its standard error.

`scorers.build_scorer` builds the scorer of a data set. `features` holds the feature extractors in which images are
compared, and `examine.examine` tests an extractor on the data before it is used. This package may import every other
package of `gan_core` except `workshop`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_core.fidelity.features.extractors import load_extractor
    from gan_core.fidelity.protocol import Scorer
    from gan_core.fidelity.scorers import build_scorer

__all__ = ["Scorer", "build_scorer", "load_extractor"]


def __getattr__(name: str) -> Any:
    """A main name, whose module is loaded only now: torch takes a second to load."""
    match name:
        case "load_extractor":
            from gan_core.fidelity.features import extractors as home
        case "Scorer":
            from gan_core.fidelity import protocol as home
        case "build_scorer":
            from gan_core.fidelity import scorers as home
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
