"""Sweeps over a person's own training: to their end, stopped and gone on with, and what is done with the winner."""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from own_trainers import edited, spec_values

from gan_core.config.input_error import InputError
from results.analysis.curves import metrics
from results.export import export_trial
from results.report.columns import table_columns
from results.report.sections import drawn_curves
from results.store import JsonLines
from results.text import trials_text
from sweep.commands.cli import main
from sweep.run import run_sweep
from sweep.spec.sweep_spec import SweepSpec

ROOT = Path(__file__).parents[2]
TIMES = ("seconds", "elapsed_seconds", "node", "cohort", "lane")


def ran(
    folder: Path, name: str = "run", text: str | None = None, *, local: bool = True, progress: bool = False, **values
) -> Any:
    given = spec_values(folder, **({} if text is None else {"text": text}), **values)
    return run_sweep(SweepSpec.from_mapping(given), folder / name, local=local, progress=progress)


def rows_in(folder: Path) -> list[dict]:
    rows = JsonLines(folder / "rows.jsonl").read()
    kept = [{key: value for key, value in row.items() if key not in TIMES} for row in rows]
    return sorted(kept, key=lambda row: (row["trial"], row["rung"]))


def test_a_sweep_prunes_and_has_a_table_of_its_hyperparameters_and_numbers(tmp_path, capsys):
    table = ran(tmp_path, progress=True)
    said = "".join(capsys.readouterr())
    assert "running your training" in said
    assert "scoring samples" not in said
    frame = table.trials
    assert set(frame["outcome"]) == {"completed", "pruned"}
    assert frame.loc[frame["trial"] == 0, "trainer.rate"].item() == pytest.approx(np.sqrt(1e-3 * 0.5))
    assert table.differing == ["trainer.rate"]
    assert {"fidelity.score", "report.loss"} <= set(frame.columns)
    assert "fidelity.loss" not in frame.columns
    assert "loss" in trials_text(table, frame, reasons=False).split("\n")[0].split()
    assert {"report.loss", "score"} <= set(metrics(table))
    assert list(drawn_curves(table)) == ["score", "d_loss", "report.loss"]  # and no loss of G, which it does not report
    assert "report.loss" in [shown["name"] for shown in table_columns(table, [])]
    assert not [name for name in frame.columns if name.startswith(("lane.", "health."))]
    assert (tmp_path / "run" / "best.png").is_file()


def test_more_is_better_of_a_number_with_a_minus(tmp_path):
    text = edited(('"score": self.x', '"quality": -self.x'))
    table = ran(tmp_path, text=text, objective="-quality")
    assert table.trials["score"].min() == pytest.approx(-table.trials["fidelity.quality"].max())


@pytest.mark.parametrize(("method", "begins"), [("train_to", "while self.seen"), ("state_dict", 'return {"x"')])
def test_a_trial_whose_code_raises_is_failed_and_the_sweep_goes_on(tmp_path, capsys, method, begins):
    table = ran(tmp_path, text=edited((begins, f"assert self.rate < 0.05, 'too fast'\n        {begins}")))
    failed = table.trials[table.trials["outcome"] == "failed"]
    assert 0 < len(failed) < 5
    (reason,) = set(failed["reason"])
    assert reason.startswith(f"Trainer.{method} failed: AssertionError: too fast (quad.py, line ")
    said = "".join(capsys.readouterr())
    first = failed.sort_values("trial").iloc[0]
    assert f"warning: trial {first['trial']} (rate {first['trainer.rate']:.4g}): {reason}\nTraceback" in said
    assert said.count("assert self.rate < 0.05") == 1
    assert "gan_core" not in said


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (('"score"', '"skore"'), "the report of Trainer.train_to has no 'score'"),
        (('{"x": self.x,', '{"x": self.x.numpy(),'), r"state_dict\(\)\['x'\] is of type numpy.ndarray"),
    ],
)
def test_what_no_sweep_can_use_ends_it_before_a_trial_is_recorded(tmp_path, edit, says):
    with pytest.raises(InputError, match=says):
        ran(tmp_path, text=edited(edit))
    assert rows_in(tmp_path / "run") == []


def test_what_no_sweep_can_use_fails_its_trial_alone_where_others_have_a_score(tmp_path):
    table = ran(tmp_path, text=edited(("self.x.square().sum()", "1.0 if self.rate < 0.05 else None")))
    assert {"completed", "failed"} <= set(table.trials["outcome"])


def test_all_objectives_must_be_reported_and_are_scores(tmp_path):
    table = ran(tmp_path, objective=["score", "loss", "seconds"])
    assert {"fidelity.score", "fidelity.loss", "pareto_rank"} <= set(table.trials.columns)
    with pytest.raises(InputError, match="has no 'bleu', which is an objective of the sweep; it has score"):
        ran(tmp_path, "other", objective=["score", "-bleu"])


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_with_equal_rows(tmp_path):
    """It kills itself in the middle of the second rung of some trial."""
    lines = [
        "import os",
        f"mark = {str(tmp_path / 'killed')!r}",
        "if images == 300 and not os.path.exists(mark):",
        "    open(mark, 'w').close()",
        "    os.kill(os.getpid(), 9)",
        "while self.seen",
    ]
    text = edited(("while self.seen", "\n        ".join(lines)))
    spec = tmp_path / "quad.yaml"
    spec.write_text(yaml.safe_dump(spec_values(tmp_path, text)))
    command = [
        sys.executable,
        "-m",
        "sweep",
        "run",
        "--local",
        "--quiet",
        str(spec),
        "-o",
        str(tmp_path / "killed-run"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL
    assert 0 < len(rows_in(tmp_path / "killed-run")) < 8
    run_sweep(SweepSpec.from_yaml(spec), tmp_path / "killed-run", local=True, progress=False)
    run_sweep(SweepSpec.from_yaml(spec), tmp_path / "straight", local=True, progress=False)
    assert rows_in(tmp_path / "killed-run") == rows_in(tmp_path / "straight")


def test_finalists_are_trained_again_with_seeds_that_reach_the_training(tmp_path):
    text = edited(
        ("self.rate,", 'self.seed = config["seed"]\n        self.rate,'), ('"d_loss": 1.5', '"given": self.seed')
    )
    rows = ran(tmp_path, text=text, confirm={"top": 1, "seeds": 2}).frame
    assert rows["report.given"].tolist() == rows["seed"].tolist()
    last = rows[(rows["trial"] == rows.loc[rows["replicate"] > 0, "trial"].iloc[0]) & (rows["rung"] == 1)]
    assert last["seed"].nunique() == last["score"].nunique() == len(last) == 3


def test_a_population_copies_states_and_changes_hyperparameters(tmp_path):
    ladder = {"rungs_images": [50, 100, 150, 200], "keep_fraction": 1.0}
    population = {"exploit_fraction": 0.5}
    table = ran(tmp_path, trials=4, ladder=ladder, population=population, lanes_per_cohort=4)
    rows = table.frame
    assert rows["parent"].notna().any()
    assert (rows.groupby("trial")["trainer.rate"].nunique() > 1).any()
    winner = int(table.best()["trial"])
    (tmp_path / "best.yaml").write_text(export_trial(tmp_path / "run", winner))
    exported = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert {key for entry in exported["schedule"] for key in entry} == {"from_images", "trainer.rate"}
    assert main(["train", str(tmp_path / "best.yaml"), "-o", str(tmp_path / "model"), "--images", "200"]) == 0


def test_the_winner_is_exported_trained_sampled_and_verified(tmp_path, capsys):
    grabs = ("return torch.rand(", "if count > 64: raise MemoryError\n        return torch.rand(")
    table = ran(tmp_path, text=edited(grabs))
    best, model = tmp_path / "best.yaml", tmp_path / "model"
    assert main(["export", str(tmp_path / "run"), "-o", str(best)]) == 0
    (tmp_path / "quad.py").write_text("what is carried along is used, and not this")
    assert main(["show", str(tmp_path / "run"), str(table.best()["trial"])]) == 0
    assert "score      loss  d_loss  g_loss\n" in capsys.readouterr().out
    assert main(["verify", str(best)]) == 0
    said = capsys.readouterr().out
    assert "reproduced exactly" in said
    assert "loss" in said.split()
    assert main(["train", str(best), "-o", str(model), "--images", "400"]) == 0
    assert (model / "metrics.csv").read_text().startswith("images_seen,d_loss,g_loss,fidelity.score,report.loss\n")
    said = capsys.readouterr().out
    assert f"reproduces the sweep's {table.best()['score']:.4g} exactly" in said
    state = torch.load(model / "trainer.pt", weights_only=True)
    assert set(state) == {"x", "seen"}
    assert main(["train", str(best), "-o", str(model), "--images", "600"]) == 0
    assert "600 images" in capsys.readouterr().out
    for place, of in (("a.npy", tmp_path / "run"), ("b.npy", model)):
        assert main(["sample", str(of), "-n", "5", "-o", str(tmp_path / place)]) == 0
        assert np.load(tmp_path / place).shape == (5, 1, 4, 4)
    assert main(["sample", str(model), "-o", str(tmp_path / "a.txt")]) == 2
    assert main(["sample", str(model), "-n", "65", "-o", str(tmp_path / "a.npy")]) == 2
    assert main(["export-model", str(model), "-o", str(tmp_path / "a.pt2")]) == 2
    assert main(["train", str(best), "-o", str(model), "--other-data"]) == 2
    assert main(["train", str(best), "-o", str(model), "--seed", "9"]) == 2
    assert main(["train", str(best), "-o", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "holds the state of your own training, and no generator of a GAN" in said
    assert "takes texts alone" in said
    assert "memory ran out; draw fewer samples with -n" in said
    assert "reads its own data" in said
    assert "model of another configuration" in said
    assert "holds other files" in said


def test_texts_are_written_as_lines(tmp_path):
    text = edited(("torch.rand(count, 1, 4, 4) * 2 - 1", "['a three\\n', '\\x1b[31m'][:count]"))
    ran(tmp_path, text=text)
    assert main(["sample", str(tmp_path / "run"), "-o", str(tmp_path / "texts.txt")]) == 0
    assert (tmp_path / "texts.txt").read_text() == "a three\\n\n\\x1b[31m\n"
    assert main(["sample", str(tmp_path / "run"), "-o", str(tmp_path / "texts.png")]) == 0
    assert main(["sample", str(tmp_path / "run"), "-o", str(tmp_path / "texts.npy")]) == 2


def test_a_training_that_diverges_in_the_end_and_one_without_samples_say_so(tmp_path, capsys):
    ran(
        tmp_path,
        text=edited(("def sample", "def _sample"), ("while self.seen", "assert images < 400\n        while self.seen")),
    )
    assert main(["sample", str(tmp_path / "run"), "-o", str(tmp_path / "a.png")]) == 2
    assert "has no method sample(count)" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "run"), "-o", str(tmp_path / "best.yaml")]) == 0
    assert main(["train", str(tmp_path / "best.yaml"), "-o", str(tmp_path / "model"), "--images", "400"]) == 2
    said = capsys.readouterr().err
    assert "training failed at 375 images" in said or "training failed at 400 images" in said


def test_what_the_class_lacks_is_said_before_anything_starts(tmp_path):
    with pytest.raises(InputError, match=r"Trainer has no method state_dict\(\); did you mean|Trainer has no method"):
        ran(tmp_path, text=edited(("def state_dict", "def state_dicts")))
    assert not (tmp_path / "run").exists()


def test_the_plan_of_a_run_says_what_is_not_known(tmp_path, capsys):
    spec = tmp_path / "quad.yaml"
    spec.write_text(yaml.safe_dump(spec_values(tmp_path)))
    assert main(["run", "--local", "--dry-run", str(spec)]) == 0
    assert "time and memory: not known of your own training" in capsys.readouterr().out


@pytest.mark.slow
def test_ray_gives_the_same_rows(tmp_path):
    values = {"sampler": {"name": "random"}, "resources": {"gpus_per_cohort": 0}}
    ran(tmp_path, "local", ladder={"rungs_images": [100, 300], "keep_fraction": 1.0}, **values)
    ran(tmp_path, "ray", local=False, ladder={"rungs_images": [100, 300], "keep_fraction": 1.0}, **values)
    known = [{k: v for k, v in row.items() if k != "reason"} for row in rows_in(tmp_path / "local")]
    assert known == [{k: v for k, v in row.items() if k != "reason"} for row in rows_in(tmp_path / "ray")]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("transformers") is None, reason="the extra captioning is not installed")
def test_the_captioning_example_has_a_winner_that_is_right_nine_times_of_ten(tmp_path):
    spec = SweepSpec.from_yaml(ROOT / "examples" / "captioning.yaml", ["trials=2"])
    best: Any = run_sweep(spec, tmp_path / "run", local=True, progress=False).best()
    assert best["score"] <= 0.1
    assert best["report.bleu"] > 0.9
    assert {"report.wrong_greedy", "report.wrong_4_beams"} <= set(best.index)
    assert main(["sample", str(tmp_path / "run"), "-n", "4", "-o", str(tmp_path / "captions.txt")]) == 0
    assert "beside" in (tmp_path / "captions.txt").read_text()
