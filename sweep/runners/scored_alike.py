"""The workshop of a process of a run, in which scores are fitted with what all processes of the run share."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from gan_core.config.conditions import Conditions
from gan_core.data.dataset import Dataset
from gan_core.fidelity.fitted import Fitted
from gan_core.workshop.workshop import Workshop
from sweep.cohorts.shared_features import SharedFeatures


def workshop_of_run(
    conditions: Conditions,
    features: SharedFeatures,
    device: str = "auto",
    on_phase: Callable[[str], object] = lambda phase: None,
    dataset: Dataset | None = None,
) -> Workshop:
    """A `Workshop` whose scores are those of the whole run. Processes that begin at once may each fit their own; then
    all use what the first of them has offered. Raises as `Workshop` does, and what `features` raises.
    """
    shared = features.fetch()
    fitted = None if shared is None else Fitted.read(shared)
    workshop = Workshop(conditions, device, on_phase, dataset, fitted)
    if fitted is not None or workshop.fitted is None:
        return workshop
    with tempfile.TemporaryDirectory(prefix="gan-sweep-") as folder:
        made = Path(folder) / "features.safetensors"
        workshop.fitted.write(made)
        kept = features.offer(made)
        if kept.read_bytes() == made.read_bytes():
            return workshop
        return Workshop(conditions, device, on_phase, workshop.dataset, Fitted.read(kept))
