"""The examination of the scores of a run: kept beside its rows, and told to a person where it found faults."""

import json
import shlex

from gan_core.fidelity.examination import Examination
from results.store import RunFolder, write_atomically


def keep_examination(folder: RunFolder, examination: Examination) -> None:
    """Writes an examination into the folder of a run, in place of an earlier one. Raises OSError if it cannot."""
    write_atomically(folder.examination, json.dumps(examination.plain(), indent=1) + "\n")


def unseen(dataset: str, examination: Examination) -> str | None:
    """The line for a person if the scores miss some known damages to images of a data set; None if they miss none."""
    if not examination.faults:
        return None
    return f"{dataset}: {examination.line}; see them all: gan-sweep data {shlex.quote(dataset)}"
