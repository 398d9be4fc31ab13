"""Training a model: one that is stopped anywhere and resumed equals an uninterrupted one, and files are complete."""

import csv
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from tiny_arrays import GAUSSIAN

import gan_core.workshop.one_model
from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import DamagedFile, InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.schedule import Schedule
from gan_core.config.structure import StructureConfig
from gan_core.lanes.axis import lane_arithmetic
from gan_core.training.checkpoint import load_tensors, save_tensors
from gan_core.training.draws import BLOCK_STEPS
from gan_core.training.lane_array import LaneArray
from gan_core.workshop.one_model import (
    ModelFolder,
    Progress,
    best_row,
    evaluation_points,
    load_generator_weights,
    read_metrics,
    row_place,
    train_model,
    write_metrics,
)
from gan_core.workshop.saved_generator import SampleKind, sample_generator
from gan_core.workshop.workshop import Workshop

IMAGES, POINTS = 130, (26, 52)
EVERY_CALL = range(1, 10 + 8 + 1)  # of on_progress: ten steps of 13 images, and eight scorings
VALUES = GanConfig(
    structure=StructureConfig(
        **{**GAUSSIAN, "discriminator_input": "minibatch", "discriminator_width": 7, "latent_size": 3, "batch_size": 13}
    ),
    # These rates make the score worse and then better again.
    lane=LaneConfig(generator_lr=1.0, discriminator_lr=1.0, discriminator_steps=2, ema_half_life_images=30),
    seed=20,
)
IMAGE_CONFIG = GanConfig(
    structure=StructureConfig(generator_width=7, discriminator_width=7, latent_size=5, batch_size=13), seed=1
)


@pytest.fixture(autouse=True, scope="module")
def _blocks_of_one_step() -> Iterator[None]:
    """Makes blocks of one step, so that training can be stopped after each; latents are still drawn for many steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gan_core.training.lane_array.BLOCK_STEPS", 1)
        yield


@pytest.fixture
def _blocks_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_core.training.lane_array.BLOCK_STEPS", BLOCK_STEPS)


@pytest.fixture(scope="module")
def workshop() -> Workshop:
    return Workshop(Conditions(dataset="gaussian"), device="cpu")


class Calls:
    """An on_progress that returns True at one call, or never, and records its arguments."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.told: list[Progress] = []

    def __call__(self, progress: Progress) -> bool:
        self.told.append(progress)
        return len(self.told) == self.stop_at

    def scorings(self) -> list[Progress]:
        return [progress for progress in self.told if progress.report is not None]


def run(workshop: Workshop, folder: ModelFolder, calls: Callable[[Progress], bool], config: GanConfig = VALUES) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    train_model(Schedule(config), workshop, folder, images=IMAGES, evaluate_at_images=POINTS, on_progress=calls)


def outcome(folder: ModelFolder) -> list[object]:
    """The bytes of generator, state and curve, and the exact numbers of the metrics, in which NaN equals NaN."""
    files = (folder.generator, folder.state, folder.curves)
    return [*(path.read_bytes() for path in files), repr(read_metrics(folder.metrics))]


@pytest.fixture(scope="module")
def whole(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelFolder, Calls]:
    """An uninterrupted training."""
    folder, calls = ModelFolder(tmp_path_factory.mktemp("model")), Calls()
    run(workshop, folder, calls)
    assert len(calls.told) == len(EVERY_CALL)
    return folder, calls


@pytest.mark.parametrize(
    ("given", "images", "points"),
    [
        ((100,), 100, [100]),
        ((100,), 200, [100, 125, 150, 175, 200]),
        ((10, 100), 160, [10, 100, 125, 150, 160]),
        ((10, 100), 90, [10, 90]),
        ((10, 100), 10, [10]),
        ((100,), 50, [50]),
        ((2,), 5, [2, 3, 4, 5]),
    ],
)
def test_a_model_is_scored_at_the_given_points_then_four_times_in_each_further_stretch_and_at_the_end(
    given, images, points
):
    assert evaluation_points(given, images) == points


def test_progress_is_told_at_every_step_and_at_every_scoring(whole):
    folder, calls = whole
    steps = [progress.images_seen for progress in calls.told if progress.report is None]
    scored = [progress.images_seen for progress in calls.scorings()]
    assert steps == list(range(13, IMAGES + 1, 13))
    assert scored == [26, *range(52, IMAGES + 1, 13)]
    assert [row["images_seen"] for row in read_metrics(folder.metrics)] == scored


def test_the_metrics_are_those_that_were_told(whole):
    folder, calls = whole
    for row, progress in zip(read_metrics(folder.metrics), calls.scorings(), strict=True):
        report = progress.report
        assert report is not None
        scores = {f"fidelity.{name}": value for name, value in report.fidelity.values.items()}
        expected = {"images_seen": report.images_seen, "d_loss": report.d_loss, "g_loss": report.g_loss, **scores}
        assert list(row) == list(expected)
        np.testing.assert_array_equal(list(row.values()), list(expected.values()))


def test_the_generator_kept_is_the_one_of_the_best_scoring(workshop, whole):
    folder, calls = whole
    scored = [(p.report.fidelity.values["fidelity"], p.images_seen) for p in calls.scorings() if p.report]
    improves = [score < min((s for s, _ in scored[:i]), default=math.inf) for i, (score, _) in enumerate(scored)]
    assert [progress.is_best for progress in calls.scorings()] == improves
    assert {True, False} == set(improves[1:])  # it got worse, and better again
    best, images = min(scored)
    array = workshop.build([VALUES])
    assert array.train_to(images)[0].fidelity.values["fidelity"] == best
    expected = array.array.generator_tensors(0)
    kept = load_generator_weights(folder)
    assert {name: tensor.numpy().tobytes() for name, tensor in kept.items()} == {
        name: tensor.numpy().tobytes() for name, tensor in expected.items()
    }


def test_a_worse_scoring_leaves_the_best_generator_in_place(workshop, whole, tmp_path):
    """The training is stopped at the third evaluation, which is worse than the first."""
    _, calls = whole
    at = 1 + calls.told.index(calls.scorings()[2])
    assert [progress.is_best for progress in calls.scorings()[:3]] == [True, False, False]
    folder = ModelFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(workshop, folder, Calls(at))
    array = workshop.build([VALUES])
    array.train_to(26)
    kept = load_generator_weights(folder)
    assert all(torch.equal(kept[name], tensor) for name, tensor in array.array.generator_tensors(0).items())


@pytest.mark.parametrize("at", EVERY_CALL)
def test_stopped_at_any_call_and_run_again_equals_not_stopping(workshop, whole, tmp_path, at):
    whole_folder, whole_calls = whole
    folder, first, rest = ModelFolder(tmp_path), Calls(at), Calls()
    with pytest.raises(KeyboardInterrupt):
        run(workshop, folder, first)
    assert len(first.told) == at
    run(workshop, folder, rest)
    assert outcome(folder) == outcome(whole_folder)
    told = [(p.images_seen, p.is_best, p.report is None) for p in first.told + rest.told]
    assert told == [(p.images_seen, p.is_best, p.report is None) for p in whole_calls.told]


def test_the_metrics_file_of_a_training_that_was_stopped_is_the_same_text(workshop, whole, tmp_path):
    folder = ModelFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(workshop, folder, Calls(5))
    run(workshop, folder, Calls())
    assert folder.metrics.read_text() == whole[0].metrics.read_text()


@pytest.mark.parametrize("at", EVERY_CALL)
def test_killed_at_any_call_and_run_again_equals_not_stopping(workshop, whole, tmp_path, at):
    """The process is killed, and training resumes from the last saved state."""
    told = []

    def die(progress: Progress) -> bool:
        told.append(progress)
        if len(told) == at:
            raise ProcessLookupError
        return False

    folder = ModelFolder(tmp_path)
    with pytest.raises(ProcessLookupError):
        run(workshop, folder, die)
    run(workshop, folder, Calls())
    assert outcome(folder) == outcome(whole[0])


def test_killed_between_metrics_and_state_and_run_again_equals_not_stopping(workshop, whole, tmp_path):
    folder = ModelFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(workshop, folder, Calls(5))
    for ahead in ("metrics.csv", "generator.safetensors"):
        shutil.copy(whole[0].path / ahead, folder.path / ahead)
    run(workshop, folder, Calls())
    assert outcome(folder) == outcome(whole[0])


def test_the_state_is_saved_now_and_then_between_scorings(workshop, tmp_path, monkeypatch):
    monkeypatch.setattr(gan_core.workshop.one_model, "SAVE_EVERY_SECONDS", 0.0)
    folder, saved = ModelFolder(tmp_path), []

    def note(progress: Progress) -> bool:
        saved.append(load_tensors(folder.state)["counters"][0].item() if folder.state.exists() else None)
        return False

    run(workshop, folder, note)
    assert saved[:4] == [None, 13, 26, 26]  # told at 13, at 26, of the scoring there, and at 39


def test_points_that_fall_in_one_batch_are_scored_once(workshop, tmp_path):
    calls = Calls()
    train_model(
        Schedule(VALUES), workshop, ModelFolder(tmp_path), images=39, evaluate_at_images=(20, 26, 39), on_progress=calls
    )
    assert [progress.images_seen for progress in calls.scorings()] == [26, 39]


def test_a_finished_training_run_again_does_nothing(workshop, whole, tmp_path):
    folder = ModelFolder(tmp_path / "copy")
    shutil.copytree(whole[0].path, folder.path)
    again = Calls()
    run(workshop, folder, again)
    assert again.told == []
    assert outcome(folder) == outcome(whole[0])


def test_a_model_of_images_follows_the_trial_of_a_sweep_bit_for_bit(digits, tmp_path):
    """The same configuration as one of three lanes, evaluated at the same points; then its samples are compared."""
    images = Workshop(Conditions(dataset="digits", scoring=ScoringConfig(samples=100)), device="cpu")
    folder, calls = ModelFolder(tmp_path), Calls()
    run(images, folder, calls, IMAGE_CONFIG)
    unlike = {"seconds": 0, "device": ""}  # which tells the number of lanes a call
    others = [replace(IMAGE_CONFIG, seed=8), replace(IMAGE_CONFIG, lane=LaneConfig(beta1=0.5))]
    trial = images.build([others[0], IMAGE_CONFIG, others[1]])
    for progress in calls.scorings():
        report = trial.train_to(progress.images_seen)[1]
        assert progress.report is not None
        assert repr(replace(progress.report, **unlike)) == repr(replace(report, **unlike))  # NaN equals itself so
    assert len({tensor.numpy().tobytes() for tensor in trial.array.sample(5, seed=2)}) == 3


@pytest.mark.parametrize("count", [1, 13, 2500])
@pytest.mark.parametrize("config", [VALUES, IMAGE_CONFIG], ids=["values", "images"])
def test_samples_of_a_saved_generator_are_those_of_its_array(gaussian, digits, tmp_path, config, count):
    dataset = gaussian if config is VALUES else digits
    array = LaneArray([replace(config, seed=9), config, replace(config, seed=10)], dataset)
    array.train_to(65)
    samples = array.sample(count, seed=2)
    assert not torch.equal(samples[0], samples[1])
    for lane in range(3):
        save_tensors(tmp_path / "generator", array.generator_tensors(lane))
        weights = load_tensors(tmp_path / "generator")
        again = sample_generator(config, SampleKind(dataset.sample_shape, dataset.classes), weights, count, seed=2)
        assert again.numpy().tobytes() == samples[lane].numpy().tobytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: {**weights, "0.bias": weights["0.bias"][:-1]},
        lambda weights: {name: tensor for name, tensor in weights.items() if name != "0.bias"},
        lambda weights: {**weights, "9.bias": weights["0.bias"]},
        lambda weights: {**weights, "0.weight": weights["0.weight"].T.contiguous()},
    ],
    ids=["shorter", "missing", "another", "transposed"],
)
def test_weights_of_another_structure_are_refused(whole, change):
    weights = load_generator_weights(whole[0])
    assert sample_generator(VALUES, SampleKind((1,), 0), weights, 5, seed=0).shape == (5, 1)
    with pytest.raises(InputError, match="weights do not fit the configuration"):
        sample_generator(VALUES, SampleKind((1,), 0), change(weights), 5, seed=0)


def test_the_state_of_another_structure_is_refused(workshop, whole, tmp_path):
    folder = ModelFolder(tmp_path / "copy")
    shutil.copytree(whole[0].path, folder.path)
    other = replace(VALUES, structure=replace(VALUES.structure, generator_width=8))
    with pytest.raises(InputError, match="does not fit this configuration"):
        run(workshop, folder, Calls(), other)


DIVERGING = replace(
    VALUES,
    structure=replace(VALUES.structure, loss="least_squares", generator_width=300, discriminator_width=300),
    lane=LaneConfig(generator_lr=10, discriminator_lr=10, beta1=0, beta2=0),
)


@pytest.mark.usefixtures("_blocks_as_ever")
def test_a_training_that_dies_says_where_and_why_and_keeps_nothing_of_the_dead(workshop, tmp_path):
    folder, calls = ModelFolder(tmp_path), Calls()
    with pytest.raises(InputError, match="diverged at 416 images: discriminator loss is nan; lower the rates"):
        train_model(Schedule(DIVERGING), workshop, folder, images=520, evaluate_at_images=(520,), on_progress=calls)
    assert calls.scorings() == []
    assert [path.name for path in tmp_path.iterdir()] == []


STILL = replace(VALUES, lane=LaneConfig(generator_lr=0.0))
STILL_HEALTH = HealthConfig(collapsed_deviation=1e6, collapsed_images=600)


@pytest.mark.usefixtures("_blocks_as_ever")
@pytest.mark.parametrize("objective", ["fidelity", "wasserstein", "mean_error"])
def test_a_training_that_died_is_refused_again_when_it_is_run_again_and_keeps_what_it_had(tmp_path, objective):
    """The model is alive at 130 images and dead at 832 (64 steps of 13, two checks). Whatever the objective, its files
    stay readable, and its best generator is kept.
    """
    conditions = Conditions(dataset="gaussian", objective=objective, health=STILL_HEALTH)
    workshop, folder = Workshop(conditions, device="cpu"), ModelFolder(tmp_path)
    kept = []
    for _ in range(3):
        with pytest.raises(InputError, match="collapsed at 832 images: G ignores its latent"):
            train_model(
                Schedule(STILL), workshop, folder, images=1300, evaluate_at_images=(130, 1300), on_progress=Calls()
            )
        assert [row["images_seen"] for row in read_metrics(folder.metrics)] == [130]
        kept.append(outcome(folder))
    assert kept[0] == kept[1] == kept[2]


def test_metrics_read_as_they_were_written(tmp_path):
    rows = [{"images_seen": 26, "loss": 0.1 + 0.2}, {"images_seen": 52, "loss": math.nan}]
    assert read_metrics(tmp_path / "metrics.csv") == []
    write_metrics(tmp_path / "metrics.csv", rows)
    assert repr(read_metrics(tmp_path / "metrics.csv")) == repr(rows)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert [float(row["images_seen"]) for row in csv.DictReader(file)] == [26, 52]


def test_the_best_row_of_metrics_keeps_the_limits_and_rows_of_earlier_versions_have_their_place(tmp_path):
    folder = ModelFolder(tmp_path)
    rows = [
        {"images_seen": 1, "fidelity.fidelity": 150.0, "fidelity.violation": 1.2},
        {"images_seen": 2, "fidelity.fidelity": 0.1, "fidelity.violation": 0.4, "fidelity.coverage_violation": 0.3},
        {"images_seen": 3, "fidelity.fidelity": 7.0, "fidelity.violation": 0.0, "fidelity.coverage_violation": 0.0},
    ]
    for count, best in ((1, 1), (2, 2), (3, 3)):
        write_metrics(folder.metrics, rows[:count])
        assert best_row(folder, "fidelity")["images_seen"] == best
    assert [row_place(row, "fidelity") for row in rows] == [(1.0, 150.0), (0.4, 0.1), (0.0, 7.0)]


def test_rows_of_versions_with_other_columns_stand_in_one_table(tmp_path):
    path = tmp_path / "metrics.csv"
    write_metrics(path, [{"images_seen": 26, "old": 1.0}, {"images_seen": 52, "new": 2.0}])
    expected = [{"images_seen": 26, "old": 1.0, "new": math.nan}, {"images_seen": 52, "old": math.nan, "new": 2.0}]
    assert repr(read_metrics(path)) == repr(expected)


def test_tensors_read_as_they_were_written_and_leave_one_file(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor([math.nan, -0.0], dtype=torch.float64)}
    save_tensors(tmp_path / "tensors", {"a": torch.zeros(1)})
    save_tensors(tmp_path / "tensors", tensors)
    found = load_tensors(tmp_path / "tensors")
    assert {name: tensor.numpy().tobytes() for name, tensor in found.items()} == {
        name: tensor.contiguous().numpy().tobytes() for name, tensor in tensors.items()
    }
    assert [path.name for path in tmp_path.iterdir()] == ["tensors"]


def test_no_bit_that_changed_since_a_file_was_written_changes_what_is_read(tmp_path):
    path, refused = tmp_path / "tensors.safetensors", 0
    tensors = {"a": torch.arange(3.0), "b": torch.tensor(True), "c": torch.zeros(2, dtype=torch.bfloat16)}
    save_tensors(path, tensors)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = load_tensors(path)
        except DamagedFile:
            refused += 1
        else:  # of the digest's own name, or of the white space that ends the header
            assert {name: (t.dtype, t.tolist()) for name, t in found.items()} == {
                name: (t.dtype, t.tolist()) for name, t in tensors.items()
            }
    assert refused > 0.9 * len(whole)


def test_a_file_of_an_earlier_version_has_no_digest_and_is_read(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "old")
    assert load_tensors(tmp_path / "old")["a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("content", [None, b"", b"no tensors", b"\xff" * 64, "cut"], ids=str)
def test_a_file_that_holds_no_whole_tensors_is_refused_by_name(tmp_path, content):
    path = tmp_path / "tensors.safetensors"
    if content == "cut":
        save_tensors(path, {"a": torch.arange(100.0)})
        path.write_bytes(path.read_bytes()[:-7])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        load_tensors(path)
    assert f"cannot read the tensors in {path}" in str(refused.value)


# ---- killed by a signal

FAMILIES: dict[str, dict[str, Any]] = {
    "gaussian": {"structure.dataset": "gaussian", "structure.discriminator_input": "minibatch"},
    "mlp": {"structure.gradient_penalty": "r1", "lane.instance_noise": 0.1},
    "mlp_bn": {"structure.update_order": "generator_first", "lane.batch_norm_eps": 0.8},
    "mlp_minimax": {"structure.loss": "minimax_clamped", "lane.label_smoothing": 0.1},
    "mlp_dropout": {"lane.generator_dropout": 0.25, "lane.discriminator_dropout": 0.25},
    "cgan": {},
    "dcgan": {"lane.discriminator_steps": 2},
    "infogan": {"structure.categorical_codes": 10, "structure.continuous_codes": 2},
    "dcgan with spectral norm": {"structure.architecture": "dcgan", "structure.discriminator_norm": "spectral"},
}
KILLED = ("mlp_bn", "infogan", "dcgan with spectral norm")  # those that are not slow tests
SMALL = {
    "structure.generator_width": 8,
    "structure.discriminator_width": 10,
    "structure.latent_size": 3,
    "structure.batch_size": 16,
    "lane.ema_half_life_images": 100.0,
    "lane.beta1": 0.5,
}
KILLED_IMAGES, KILLED_POINTS = 960, (160, 320)  # 60 steps
KILLER = """
import itertools, os, random, signal, sys
from pathlib import Path
import torch
import yaml
import gan_core.workshop.one_model
from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.workshop.one_model import ModelFolder, train_model
from gan_core.lanes.axis import lane_arithmetic
from gan_core.config.health import HealthConfig
from gan_core.lanes.axis import lane_arithmetic
from gan_core.config.schedule import Schedule
from gan_core.workshop.workshop import Workshop

gan_core.workshop.one_model.SAVE_EVERY_SECONDS = 0.0  # at every block, so that it is killed while it writes, too
job = yaml.safe_load(sys.stdin)
draw = random.Random(job["seed"])
scoring = ScoringConfig(samples=job["samples"])

def killed_after(calls, state):
    # Ends this process so many calls and returns of functions after its first checkpoint.
    left = itertools.count(calls, -1)

    def on_progress(progress):
        if state.exists() and sys.getprofile() is None:
            sys.setprofile(lambda *_: next(left) or os.kill(os.getpid(), signal.SIGKILL))
        return False

    return on_progress

with lane_arithmetic():
    shops = {name: Workshop(Conditions(dataset=name, scoring=scoring), "cpu") for name in ("digits", "gaussian")}
    for name, values in job["configs"].items():
        config, folder = GanConfig.unflatten(values), ModelFolder(Path(job["home"], name))
        folder.path.mkdir()
        on_progress = killed_after(draw.randrange(30_000), folder.state)  # of 100,000 or more
        child = os.fork()
        if child == 0:
            points = tuple(job["points"])
            train_model(Schedule(config), shops[config.structure.dataset], folder, images=job["images"],
                        evaluate_at_images=points, on_progress=on_progress)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(name, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "ended", sep=": ")
"""


def family(name: str) -> GanConfig:
    architecture = {"structure.architecture": name, "structure.dataset": "digits"}
    return GanConfig.unflatten({**architecture, **SMALL, **FAMILIES[name]})


@pytest.fixture(scope="module")
def killed(request, digits, tmp_path_factory) -> Path:
    """A folder for each architecture that is tested, whose training was killed by SIGKILL at a random moment."""
    home = tmp_path_factory.mktemp("killed")
    mine = [item for item in request.session.items if item.path == request.path and "killed" in item.fixturenames]
    chosen = {item.callspec.params["name"] for item in mine}
    job = {
        "home": str(home),
        "seed": 11,
        "samples": 20,
        "images": KILLED_IMAGES,
        "points": list(KILLED_POINTS),
        "configs": {name: family(name).flatten() for name in chosen},
    }
    code, root = [sys.executable, "-c", KILLER], Path(__file__).parents[3]
    done = subprocess.run(code, cwd=root, input=yaml.safe_dump(job), capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == [f"{name}: {signal.SIGKILL.value}" for name in sorted(chosen)], done.stderr
    return home


@pytest.fixture(scope="module")
def shops() -> dict[str, Workshop]:
    with lane_arithmetic():
        scoring = ScoringConfig(samples=20)
        return {name: Workshop(Conditions(dataset=name, scoring=scoring), "cpu") for name in ("digits", "gaussian")}


@pytest.mark.usefixtures("_blocks_as_ever")
@pytest.mark.parametrize(
    "name", [name if name in KILLED else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_a_family_killed_by_a_signal_and_run_again_ends_with_every_bit_of_an_undisturbed_training(
    killed, shops, tmp_path, name
):
    config = family(name)
    resumed, whole = ModelFolder(killed / name), ModelFolder(tmp_path)
    stood_at = load_tensors(resumed.state)["counters"][0].item()
    assert 0 < stood_at < KILLED_IMAGES
    for folder in (resumed, whole):
        with lane_arithmetic():
            train_model(
                Schedule(config),
                shops[config.structure.dataset],
                folder,
                images=KILLED_IMAGES,
                evaluate_at_images=KILLED_POINTS,
                on_progress=Calls(),
            )
    mine, theirs = load_tensors(resumed.state), load_tensors(whole.state)
    assert set(mine) == set(theirs)
    differing = [name for name in mine if mine[name].numpy().tobytes() != theirs[name].numpy().tobytes()]
    assert differing == []
    assert mine["counters"][0] == KILLED_IMAGES
    assert resumed.generator.read_bytes() == whole.generator.read_bytes()
    assert resumed.metrics.read_text() == whole.metrics.read_text()
    assert len(read_metrics(whole.metrics)) == 10


def test_a_curve_that_was_changed_is_refused_with_its_line(workshop, tmp_path):
    folder = ModelFolder(tmp_path)
    folder.curves.write_text('{"images_seen":13}\n{"d_loss":1.0}\n')
    with pytest.raises(InputError, match=r"curves\.jsonl, line 2 is no point of a curve"):
        run(workshop, folder, Calls())
