"""Generators and discriminators of all families: layers with a lane axis, networks built of them, and their latents.

Imports `config` and `lanes`. `architectures` builds the two networks of a structure from `layers` and `convolutions`;
`call` is one pass through a network, and `latents` are what a generator is given. `own_modules` makes networks of a
person's own classes, `own_probe` and `own_traits` find out what they need, and `own_lanes` gives them a lane axis.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_core.networks.architectures import build_networks
    from gan_core.networks.build import Network, Networks
    from gan_core.networks.call import Call
    from gan_core.networks.latents import fill_step_latents, shared_latents
    from gan_core.networks.own_modules import own_networks

__all__ = ["Call", "Network", "Networks", "build_networks", "fill_step_latents", "own_networks", "shared_latents"]


def __getattr__(name: str) -> Any:
    """A main name, whose module is loaded only now: torch takes a second to load."""
    match name:
        case "build_networks":
            from gan_core.networks import architectures as home
        case "Network" | "Networks":
            from gan_core.networks import build as home
        case "Call":
            from gan_core.networks import call as home
        case "fill_step_latents" | "shared_latents":
            from gan_core.networks import latents as home
        case "own_networks":
            from gan_core.networks import own_modules as home
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
