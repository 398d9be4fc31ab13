"""Arrays of a person's own Trainers: every lane as if it were alone, errors of one lane are its own."""

import random
import re

import numpy as np
import pytest
import torch
from own_trainers import config, edited, workshop

from gan_core.config.input_error import DamagedFile, InputError
from gan_core.config.reports import Midway
from gan_core.training.checkpoint import save_tensors
from gan_core.workshop import trainer_array
from gan_core.workshop.own_trainer import check_trainer, report_numbers

STATEFUL = """
import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __len__(self):
        return 128

    def __getitem__(self, item):
        return torch.tensor([item / 128, np.random.rand(), random.random()]) + 0.1 * torch.randn(3)


class Trainer:
    def __init__(self, config, device):
        self.net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1)).to(device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), config["rate"])
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 3)
        self.shift = torch.rand(3)
        self.own, self.seen = torch.Generator().manual_seed(config["seed"]), 0

    def train_to(self, images):
        loss = torch.zeros(())
        while self.seen < images:
            for batch in DataLoader(Noisy(), 16, shuffle=True, num_workers=WORKERS):
                loss = (self.net(batch + self.shift * torch.rand(3, generator=self.own)) - batch.sum()).square().mean()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.schedule.step()
                self.seen += len(batch)
                if self.seen >= images:
                    break
        return {"score": loss}

    def state_dict(self):
        parts = {name: getattr(self, name).state_dict() for name in ("net", "optimizer", "schedule")}
        return {**parts, "own": self.own.get_state(), "seen": self.seen}

    def load_state_dict(self, state):
        for name in ("net", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.own.set_state(state["own"])
        self.seen = state["seen"]
"""
pytestmark = pytest.mark.usefixtures("arithmetic")


def scores(reports):
    return [report.fidelity.values["score"] for report in reports]


def test_a_lane_has_the_numbers_that_it_has_alone(tmp_path):
    made = workshop(tmp_path)
    configs = [config(made, seed) for seed in range(3)]
    together = scores(made.build(configs).train_to(100))
    assert len(set(together)) == 3
    assert together == [scores(made.build([one]).train_to(100))[0] for one in configs]


def test_a_report_has_its_numbers_under_their_names(tmp_path):
    made = workshop(tmp_path)
    report = made.build([config(made, 0)]).train_to(100)[0]
    assert (set(report.fidelity.values), set(report.report)) == ({"score"}, {"loss"})
    assert (report.d_loss, report.images_seen, report.device) == (1.5, 100, "cpu")
    assert np.isnan(report.g_loss)
    assert report.fidelity.protocol == made.conditions.trainer
    assert report.fidelity.protocol.startswith("quad.py:Trainer#")


def test_the_global_generators_are_as_they_were(tmp_path):
    made = workshop(tmp_path)
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    made.build([config(made, 0)]).train_to(100)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), str(np.random.get_state()))


def test_going_on_from_a_file_equals_not_stopping(tmp_path):
    made = workshop(tmp_path)
    configs = [config(made, seed) for seed in range(3)]
    straight = made.build(configs)
    straight.train_to(100)
    straight.save(tmp_path / "all")
    straight.save_lane(2, tmp_path / "one")
    assert straight.train_to(300)[0].images_seen == 300
    again = made.build(configs)
    again.load_lanes([(tmp_path / "all", 0), (tmp_path / "all", 1), (tmp_path / "one", 0)])
    assert scores(again.train_to(300)) == scores(straight.score())


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_training_that_keeps_what_the_docs_say_goes_on_bit_for_bit(tmp_path, workers):
    """It draws from the global generators of torch, NumPy and Python, in processes of its DataLoader too."""
    made = workshop(tmp_path, STATEFUL.replace("WORKERS", str(workers)))
    straight, others = made.build([config(made, 0)]), made.build([config(made, 1)])
    for images in (64, 192):
        straight.save(tmp_path / str(images))
        straight.train_to(images)
        others.train_to(images)
    again = made.build([config(made, 0)])
    again.load_lanes([(tmp_path / "192", 0)])
    again.train_to(192)
    assert torch.equal(again.state(0), straight.state(0))
    assert not torch.equal(others.state(0), straight.state(0))


def test_lanes_that_had_reached_the_rung_are_not_trained_again_after_a_checkpoint(tmp_path):
    class Stopped(Exception):
        pass

    def stop(images: int) -> None:
        seen.append(images)
        if len(seen) == 2:
            assert broken.save_midway(tmp_path / "midway") == Midway()
            raise Stopped

    made, seen = workshop(tmp_path), []
    configs = [config(made, seed) for seed in range(3)]
    broken = made.build(configs)
    with pytest.raises(Stopped):
        broken.train_to(90, stop)
    assert seen == [30, 60]
    assert [report.images_seen for report in broken.score()] == [90, 90, 0]
    again = made.build(configs)
    again.load_midway(tmp_path / "midway", Midway())
    found = again.train_to(90)
    assert [report.seconds for report in found[:2]] == [report.seconds for report in broken.score()[:2]]
    assert scores(found) == scores(made.build(configs).train_to(90))


def test_a_lane_that_takes_over_goes_on_from_the_others_state_with_its_own_hyperparameters(tmp_path):
    made = workshop(tmp_path)
    array = made.build([config(made, 0), config(made, 1)])
    array.train_to(100)
    array.save(tmp_path / "both")
    changed = config(made, 0, rate=0.4)
    array.take_over([1, 1], [changed, config(made, 1)])
    expected = made.build([changed, config(made, 1)])
    expected.load_lanes([(tmp_path / "both", 1), (tmp_path / "both", 1)])
    assert scores(array.train_to(200)) == scores(expected.train_to(200))
    array.keep([1])
    assert len(array.train_to(300)) == 1


def test_an_error_in_one_lane_is_its_own_and_shows_their_lines(tmp_path):
    made = workshop(tmp_path, edited(("while self.seen", "assert self.rate < 1, 'too fast'\n        while self.seen")))
    array = made.build([config(made, 0), config(made, 1, rate=2.0), config(made, 2)])
    first, failed, last = array.train_to(100)
    assert (first.death, last.death) == (None, None)
    assert failed.death is not None
    assert failed.death.outcome == "failed"
    assert failed.death.reason == "Trainer.train_to failed: AssertionError: too fast (quad.py, line 11)"
    assert "own_trainer.py" not in failed.death.traceback
    assert "assert self.rate < 1" in failed.death.traceback
    with pytest.raises(ValueError, match="lane 1 is dead: Trainer.train_to failed"):
        array.keep([1])
    array.save(tmp_path / "living")
    array.keep([0, 2])
    again = made.build([config(made, 0), config(made, 2)])
    again.load_lanes([(tmp_path / "living", 0), (tmp_path / "living", 2)])
    assert scores(array.train_to(300)) == scores(again.train_to(300))


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_score_that_is_not_finite_is_divergence(tmp_path, value):
    made = workshop(tmp_path, edited(("self.x.square().sum()", f"float('{value}')")))
    death = made.build([config(made, 0)]).train_to(100)[0].death
    assert death is not None
    assert (death.outcome, death.reason) == ("diverged", f"score is {value}")


def test_where_memory_runs_out_the_others_are_put_away_and_it_is_tried_again(tmp_path):
    rate = 'self.rate, self.seen = config["rate"], 0'
    grabs = (rate, f"{rate}\n        HELD.append(self)")
    full = "if len(HELD) > 2:\n            HELD.clear()\n            raise MemoryError"
    checks = ("while self.seen", f"{full}\n        while self.seen")
    made = workshop(tmp_path, edited(("import torch\n", "import torch\n\nHELD = []\n"), grabs, checks))
    configs = [config(made, seed) for seed in range(3)]
    found = made.build(configs).train_to(100)
    assert [report.death for report in found] == [None] * 3
    plain = workshop(tmp_path)
    assert scores(found) == scores(plain.build([config(plain, seed) for seed in range(3)]).train_to(100))


@pytest.mark.parametrize("error", ["MemoryError", "torch.OutOfMemoryError('CUDA out of memory')"])
def test_a_lane_that_does_not_fit_alone_is_out_of_memory(tmp_path, error):
    made = workshop(tmp_path, edited(("while self.seen", f"if self.rate > 1: raise {error}\n        while self.seen")))
    first, second = made.build([config(made, 0), config(made, 1, rate=2.0)]).train_to(100)
    assert first.death is None
    assert second.death is not None
    assert second.death.outcome == "out_of_memory"


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ('{"x": self.x.numpy(), "seen": 0}', r"Trainer.state_dict\(\)\['x'\] is of type numpy.ndarray, which torch"),
        (
            '{"a": [1, (2, {3: lambda: 0})]}',
            r"state_dict\(\)\['a'\]\[1\]\[1\]\[3\] is of type builtins.function",
        ),
        ("self.__dict__.setdefault('me', {}) or self.me.update(me=self.me) or self.me", "50 levels, or holds itself"),
        ("None", r"state_dict\(\) must return all that load_state_dict needs, got None"),
        ('{"x": self.x.as_subclass(type("T", (torch.Tensor,), {}))}', r"\['x'\] is of type quad.T, which torch"),
    ],
)
def test_a_state_that_cannot_be_loaded_safely_is_a_misuse_before_anything_is_trained(tmp_path, state, says):
    """It is named with its key."""
    trains = ("while self.seen", "assert False\n        while self.seen")
    made = workshop(tmp_path, edited(trains, ('{"x": self.x, "seen": self.seen}', state)))
    death = made.build([config(made, 0)]).train_to(100)[0].death
    assert death is not None
    assert (death.outcome, death.misuse) == ("failed", True)
    assert re.search(says, death.reason)


@pytest.mark.parametrize("method", ["state_dict", "load_state_dict"])
def test_an_error_about_the_state_of_one_lane_is_its_own(tmp_path, method):
    made = workshop(tmp_path)
    before = made.build([config(made, 0), config(made, 1)])
    before.train_to(100)
    before.save(tmp_path / "both")
    body = {"state_dict": 'return {"x"', "load_state_dict": "self.x, self.seen = state"}[method]
    made = workshop(tmp_path, edited((body, f"assert self.rate < 1, 'no'\n        {body}")))
    array = made.build([config(made, 0), config(made, 1, rate=2.0)])
    array.load_lanes([(tmp_path / "both", 0), (tmp_path / "both", 1)])
    first, second = array.train_to(300)
    assert first.death is None
    assert second.death is not None
    assert (second.death.outcome, second.death.misuse) == ("failed", False)
    assert second.death.reason.startswith(f"Trainer.{method} failed: AssertionError: no")
    assert "assert self.rate < 1" in second.death.traceback
    array.save_lane(0, tmp_path / "one")


def test_a_trainer_may_have_no_state_before_it_has_trained(tmp_path):
    made = workshop(tmp_path, edited(('return {"x"', 'assert self.seen\n        return {"x"')))
    assert made.build([config(made, 0)]).train_to(100)[0].death is None


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (3.0, "must map names to numbers, 'score' among them, got 3.0"),
        ({"loss": 1.0}, "has no 'score', which is an objective of the sweep; it has loss"),
        ({}, "it has nothing"),
        (None, "must map names to numbers, 'score' among them, got None"),
        ({"score": None}, "'score' in .* must be a number, got None"),
        ({"score": "low"}, "'score' in .* must be a number, got 'low'"),
        ({"score": torch.zeros(2)}, "must be a number"),
        ({"a b": 1.0, "score": 1.0}, "must be a word of letters, digits and _, got 'a b'"),
        ({f"n{i}": 0.0 for i in range(1001)}, "may have 1,000 numbers, got 1,001"),
    ],
)
def test_a_report_that_is_none_is_refused(report, says):
    with pytest.raises(InputError, match=says):
        report_numbers(report, ["score"], "the report")


def test_a_report_may_have_numbers_of_any_kind():
    found = report_numbers({"score": torch.tensor([2.0]), "n": np.float32(0.5), "whole": 3}, ["score"], "the report")
    assert found == {"score": 2.0, "n": 0.5, "whole": 3.0}


def test_a_class_without_the_methods_is_refused_in_a_line():
    class Empty:
        pass

    class Short:
        def __init__(self, config):
            pass

        train_to = state_dict = load_state_dict = lambda self: None

    with pytest.raises(InputError, match="Trainer must be a class with train_to, state_dict, load_state_dict, got 3"):
        check_trainer(3, "Trainer")
    with pytest.raises(InputError, match=r"Trainer has no method train_to\(\); add it"):
        check_trainer(Empty, "Trainer")
    with pytest.raises(InputError, match=r"must be callable as Trainer\(config, device\): too many positional"):
        check_trainer(Short, "Trainer")
    Short.__init__ = lambda self, config, device: None  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(InputError, match=r"must be callable as Trainer.train_to\(images\): too many positional"):
        check_trainer(Short, "Trainer")


def test_samples_are_images_texts_or_nothing(tmp_path):
    images = workshop(tmp_path)
    array = images.build([config(images, 0)])
    array.train_to(100)
    picture, again, other = array.picture(0, 5), array.picture(0, 5), array.sample(0, 5, seed=7)
    assert picture is not None
    assert picture.shape == (5, 1, 4, 4)
    assert np.array_equal(picture, again)  # pyright: ignore[reportArgumentType]
    assert not np.array_equal(picture, other)  # pyright: ignore[reportArgumentType]
    draws = "torch.rand(count, 1, 4, 4) * 2 - 1"
    texts = workshop(tmp_path, edited((draws, "['a three', 'b\\n' * 99][:count]")))
    array = texts.build([config(texts, 0)])
    assert array.sample(0, 64) == ["a three", "b\n" * 99]
    picture = array.picture(0, 64)
    assert picture is not None
    assert picture.shape[:2] == (1, 1)
    assert picture.min() < -0.9 < 0.9 < picture.max() <= 1
    bytes_ = workshop(tmp_path, edited((draws, "torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2)")))
    array = bytes_.build([config(bytes_, 0)])
    assert np.array_equal(np.asarray(array.sample(0, 1)), [[[[-1, 1]]]])
    none = workshop(tmp_path, edited(("def sample", "def _sample")))
    assert none.build([config(none, 0)]).picture(0, 64) is None


def test_samples_that_are_neither_are_said_in_the_picture_and_by_the_command(tmp_path):
    made = workshop(tmp_path, edited(("torch.rand(count, 1, 4, 4) * 2 - 1", "torch.zeros(3)")))
    array = made.build([config(made, 0)])
    with pytest.raises(InputError, match=r"or a list of texts, got float32 of shape \[3\]"):
        array.sample(0, 4)
    assert array.picture(0, 4) is not None


def test_a_file_that_does_not_hold_the_lane_is_damaged(tmp_path):
    made = workshop(tmp_path)
    save_tensors(tmp_path / "file", {"images": torch.tensor([100])})
    with pytest.raises(DamagedFile, match="holds no trial 1"):
        made.build([config(made, 0)]).load_lanes([(tmp_path / "file", 1)])
    assert trainer_array.REPORTS == "reports"
