"""How to make a run again: what it was computed with, its files, and the commands."""

import shlex
from dataclasses import dataclass

import pandas as pd
import yaml

from results.report.runs import ReportedRun
from results.store import read_whole
from results.trial_table import configuration_of

FACTS = {  # column of the table -> what it is called on the page
    "code_version": "code",
    "versions": "packages",
    "node": "machines",
    "processor": "processors",
    "device": "devices",
    "execution": "execution",
    "isa": "instruction set",
    "compiler": "compiler",
    "protocol": "scoring protocol",
    "data_digest": "digest of the data",
    "features_digest": "digest of the features",
    "examination": "examination of the scores",
}
MOST_VALUES = 6  # of one fact


@dataclass(frozen=True)
class Reproduction:
    """facts: name -> its values, those of most rows first. commands: to be typed, with what each does. spec: the text
    of the run's spec. configuration: that of the winner as YAML; "" without one.
    """

    facts: dict[str, list[str]]
    commands: list[tuple[str, str]]
    spec: str
    configuration: str


def reproduction(run: ReportedRun, trial: int | None) -> Reproduction:
    """What is known of how a run was made. trial: the winner's number, None where there is none."""
    shown = run.folder.shown
    commands = [
        (shlex.join(["gan-sweep", "run", f"{shown.rstrip('/')}/spec.yaml", "--out", "runs/again"]), "the sweep again")
    ]
    if trial is not None:
        commands += [
            (
                shlex.join(["gan-sweep", "export", shown, "--trial", str(trial), "-o", "best.yaml"]),
                "the winner as a file",
            ),
            ("gan-sweep verify best.yaml", "train it to its first rung again, and compare every number"),
            ("gan-sweep train best.yaml -o models/best", "train it to its end"),
        ]
    facts = {} if run.table is None else _facts(run.table.frame)
    spec = (read_whole(run.folder.spec) or b"").decode(errors="replace")
    return Reproduction(facts, commands, spec, _configuration(run, trial))


def _configuration(run: ReportedRun, trial: int | None) -> str:
    """The hyperparameters and seeds of a trial. `gan-sweep export` has those too that have no effect."""
    if run.table is None or trial is None:
        return ""
    return yaml.safe_dump(configuration_of(run.table.trial(trial)), sort_keys=False)


def _facts(frame: pd.DataFrame) -> dict[str, list[str]]:
    found = {}
    for column, title in FACTS.items():
        if column not in frame.columns:
            continue
        counts = frame.loc[frame[column].astype(str) != "", column].value_counts()
        values = [str(value) for value in counts.index[:MOST_VALUES]]
        if len(counts) > MOST_VALUES:
            values.append(f"and {len(counts) - MOST_VALUES} more")
        if values:
            found[title] = values
    return found
