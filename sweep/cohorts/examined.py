"""How the scores of a run were examined, beside its rows."""

import json
import shlex

from gan_core.fidelity.examination import Examination
from results.store import RunFolder, write_atomically


def keep_examination(folder: RunFolder, examination: Examination) -> None:
    """Writes it into the run's folder, whole, in place of an earlier one. Raises OSError where that cannot be."""
    write_atomically(folder.examination, json.dumps(examination.plain(), indent=1) + "\n")


def unseen(dataset: str, examination: Examination) -> str | None:
    """What a person is told where the scores do not see everything that is wrong with images of a data set."""
    if not examination.faults:
        return None
    return f"{dataset}: {examination.line}; see them all: gan-sweep data {shlex.quote(dataset)}"
