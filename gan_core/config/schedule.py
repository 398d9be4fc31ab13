"""Schedules: configurations whose lane parameters change during training, as in population-based training.

Loads without torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from gan_core.config.fields import as_number, is_whole
from gan_core.config.gan import GanConfig, hyperparameter, parse_value
from gan_core.config.input_error import InputError, shown
from gan_core.config.lane import LaneConfig

FROM_IMAGES = "from_images"


@dataclass(frozen=True)
class Schedule:
    """A configuration and the changes of its lane parameters: pairs of the real images seen, in increasing order, and
    the lane parameters from there on. Before the first change those of `config` hold. A change takes place at the first
    whole batch at or after its images, as a rung does.

    Raises InputError where the images do not increase, or parameters have no effect in the structure.
    """

    config: GanConfig
    changes: tuple[tuple[int, LaneConfig], ...] = ()

    def __post_init__(self) -> None:
        starts = [images for images, _ in self.changes]
        if any(images < 0 for images in starts) or any(a >= b for a, b in zip(starts, starts[1:], strict=False)):
            raise InputError(f"{FROM_IMAGES} of a schedule must rise from 0 or more, got {starts}")
        for _, lane in self.changes:
            replace(self.config, lane=lane)

    @classmethod
    def read(cls, config: GanConfig, entries: Sequence[Mapping[str, Any]]) -> "Schedule":
        """The schedule from entries of a file, such as `{from_images: 0, lane.generator_lr: 1.0e-3}`. Parameters that
        an entry does not name keep their values. Raises InputError for other names and for wrong values.
        """
        values, changes = config.flatten(), []
        for entry in entries:
            images = as_number(int, entry.get(FROM_IMAGES))
            if not is_whole(images):
                raise InputError(f"an entry of a schedule needs {FROM_IMAGES}, a whole number, got {shown(entry)}")
            named = {str(name): value for name, value in entry.items() if name != FROM_IMAGES}
            for name, value in named.items():
                hyperparameter(name)
                if not name.startswith("lane."):
                    raise InputError(f"only lane.* may change in a schedule, got {name} from {images:,} images on")
                values[name] = parse_value(name, value)
            changes.append((images, GanConfig.unflatten(values).lane))
        return cls(config, tuple(changes))

    def plain(self) -> list[dict[str, Any]]:
        """The entries from which `read` makes this schedule, each with all lane parameters that ever change."""
        lanes = [asdict(self.config.lane), *(asdict(lane) for _, lane in self.changes)]
        differing = [name for name in lanes[0] if any(lane[name] != lanes[0][name] for lane in lanes)]
        return [
            {FROM_IMAGES: images, **{f"lane.{name}": lane[name] for name in differing}}
            for (images, _), lane in zip(self.changes, lanes[1:], strict=True)
        ]

    def at(self, images_seen: int) -> GanConfig:
        """The configuration of the next step after so many images."""
        lane = self.config.lane
        for images, changed in self.changes:
            lane = changed if images <= images_seen else lane
        return replace(self.config, lane=lane)

    def scored_at(self, images_seen: int) -> GanConfig:
        """The configuration of the step that reached so many images, which a score there belongs to."""
        return self.at(max(0, images_seen - self.config.structure.batch_size))
