"""The lane axis: tensors with aligned lanes, arithmetic that keeps each lane's bits, random numbers keyed by seed.

Imports `config`, `files` and `native`. `axis` makes arrays and applies elementwise functions, `products` multiplies
matrices, `precision` says in which precision, `streams` names the purposes of random numbers (without torch), `normals`
draws them, and `torch_internals` holds every name of torch that may disappear.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_core.lanes.axis import lane_arithmetic, lane_empty, lanewise
    from gan_core.lanes.normals import fill_latents
    from gan_core.lanes.precision import library_precision
    from gan_core.lanes.products import lane_matmul
    from gan_core.lanes.streams import Stream, stream

__all__ = [
    "Stream",
    "fill_latents",
    "lane_arithmetic",
    "lane_empty",
    "lane_matmul",
    "lanewise",
    "library_precision",
    "stream",
]


def __getattr__(name: str) -> Any:
    """A main name, whose module is loaded only now: torch takes a second to load."""
    match name:
        case "lane_arithmetic" | "lane_empty" | "lanewise":
            from gan_core.lanes import axis as home
        case "fill_latents":
            from gan_core.lanes import normals as home
        case "library_precision":
            from gan_core.lanes import precision as home
        case "lane_matmul":
            from gan_core.lanes import products as home
        case "Stream" | "stream":
            from gan_core.lanes import streams as home
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
