"""Errors in a person's own code: what is said of the trials that failed of them, and when the whole sweep ends."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError, shortened
from gan_core.config.reports import Death, LaneReport
from results.rows import short
from results.trial_run import TrialRun

LONGEST_VALUE = 30  # characters


class Failures:
    """Warns of trials that failed of an error in a person's own code, of each error once.

    searched: the hyperparameters that are searched. warn: is called with a line that names the trial, its
    configuration and what raised the error, and then the person's traceback.
    """

    def __init__(self, searched: Sequence[str], warn: Callable[[str], object]) -> None:
        self._searched, self._warn = searched, warn
        self._said: set[str] = set()

    def note(self, run: TrialRun, config: GanConfig, death: Death | None) -> None:
        """Takes in how a run ended, or that it did not."""
        if death is None or not death.traceback or death.traceback in self._said:
            return
        self._said.add(death.traceback)
        replicate = f", replicate {run.replicate}," if run.replicate else ""
        values = shortened(in_words(config.flatten(), self._searched))
        self._warn(f"trial {run.trial}{replicate} ({values}): {death.reason}\n{death.traceback.rstrip()}")


def refuse_misuse(reports: Sequence[LaneReport], has_score: Callable[[], bool]) -> None:
    """Raises InputError where a person's own training returned what a sweep cannot use, and no trial has a score yet:
    then it most likely does so for all configurations. has_score: whether any trial has one.
    """
    reasons = [report.death.reason for report in reports if report.death and report.death.misuse]
    if reasons and not has_score():
        raise InputError(f"{reasons[0]}; mend it, then give the run another --name, or remove its folder")


def in_words(values: Mapping[str, Any], names: Sequence[str]) -> str:
    """Some hyperparameters of a configuration: `learning_rate 0.00123, width 64`."""
    return ", ".join(f"{short(name)} {_short(values[name])}" for name in names if name in values)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shortened(str(value), LONGEST_VALUE)
