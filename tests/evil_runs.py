"""Runs whose names, reasons and choices would be markup, scripts or control characters where they were not escaped."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from table_rows import replicates, row, stored

from results.pictures import draw_samples
from results.rows import Outcome
from results.store import RunFolder
from results.trial_run import TrialRun

EVIL = "</script><script>window.evil=1</script><img src=x onerror=window.evil=1>\"'\n\x1b[31m&amp;"
TRIALS = 30


def made_run(path: Path, trials: int = TRIALS, *, confirmed: bool = False, pictures: bool = True) -> Path:
    """The folder of a run. Trial t scores |t - 20| + 1; trial 3 diverges, trial 4 collapses, and every fifth is pruned.
    Its hyperparameters are a learning rate, a beta and a loss, whose names are evil.
    """
    rows = []
    for trial in range(trials):
        drawn: dict[str, Any] = {"lane.generator_lr": 10 ** (-4 + trial / 20), "lane.beta1": trial % 7 / 10}
        drawn |= {"structure.loss": EVIL if trial % 2 else "hinge", "node": EVIL, "device": "cpu"}
        score, ending = abs(trial - 20) + 1.0, Outcome.COMPLETED
        rows.append(row(trial, 0, score + 5, reason=EVIL, **drawn))
        if trial in (3, 4):
            ending = Outcome.DIVERGED if trial == 3 else Outcome.COLLAPSED
        elif trial % 5 == 0:
            ending = Outcome.PRUNED
        rows.append(row(trial, 1, score, ending, reason=EVIL, **drawn))
    if confirmed:
        rows += [*replicates(20, 1.0, 1.5, 1.2, 0.9, 1.1), *replicates(21, 2.0, 2.5, 1.9, 2.2, 2.4)]
    for number, record in enumerate(rows):
        record |= {"seconds": 1.5, "elapsed_seconds": 2.0 * number, "data_digest": EVIL, "fidelity.fidelity_error": 0.1}
    folder = RunFolder(stored(path, rows))
    ranges = {
        "lane.generator_lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "lane.beta1": {"low": 0.0, "high": 0.9},
        "structure.loss": {"choices": ["hinge", EVIL]},
    }
    base = {"structure.dataset": "digits", "lane.generator_lr": 1e-4, "lane.beta1": 0.0, "structure.loss": "hinge"}
    space = {"name": "inline", "about": EVIL, "base": base, "ranges": ranges}
    spec = {"name": f"run {EVIL}", "space": space, "trials": trials, "ladder": {"rungs_images": [100, 200]}}
    folder.spec.write_text(yaml.safe_dump(spec))
    finding = {"damage": EVIL, "kind": "noise", "dose": 0, "scores": {"fidelity": 3.0, "fid": 4.0}, "faults": [EVIL]}
    examined = {
        "extractor": EVIL,
        "verdict": "failed: noise",
        "findings": [{**finding, "damage": "", "faults": []}, finding],
    }
    folder.examination.write_text(json.dumps(examined))
    if pictures:
        for trial in range(trials):
            pixels = np.random.default_rng(trial).uniform(-1, 1, (64, 1, 8, 8))
            draw_samples(pixels, folder.trial_samples(TrialRun(trial, 0)))
        draw_samples(np.zeros((64, 1, 8, 8)), folder.real_samples)
    return folder.path
