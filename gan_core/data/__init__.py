"""Turns the name of a data set into samples in memory: published sets, a user's images, numbers and polygons.

`dataset.load_dataset` loads a data set, `pictures.load_pictures` reads a user's folder of images, and
`facts.image_facts` describes the images. The modules that only read files do not load torch. This package imports
`config`, `files` and `lanes`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_core.data.dataset import Dataset, load_dataset
    from gan_core.data.facts import DataFacts, image_facts

__all__ = ["DataFacts", "Dataset", "image_facts", "load_dataset"]


def __getattr__(name: str) -> Any:
    """A main name, whose module is loaded only now: torch takes a second to load."""
    match name:
        case "Dataset" | "load_dataset":
            from gan_core.data import dataset as home
        case "DataFacts" | "image_facts":
            from gan_core.data import facts as home
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
