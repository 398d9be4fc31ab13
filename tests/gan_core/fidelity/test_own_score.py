"""A person's own score: what it is given, what it may return, and that it harms nothing beside it."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.reports import FidelityReport
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset
from gan_core.fidelity import own_score
from gan_core.fidelity.examination import Examination
from gan_core.fidelity.own_score import WithOwnScore
from gan_core.files.own_code import OwnCodeError
from gan_core.training.lane_array import LaneArray

STRUCTURE = StructureConfig(architecture="gaussian", dataset="gaussian", latent_size=2, batch_size=8)
NUMBERS = torch.arange(40.0)[:, None] / 20 - 1
OF_NUMBERS = Dataset("gaussian", NUMBERS, None, NUMBERS.clone(), None, 0, "digest")


class Plain:
    """The scorer of a data set, reduced to what is asked of it. asked: the classes of the samples."""

    protocol, samples, data_digest, features_digest, in_c = "plain", 30, "digest", "", False

    def __init__(self) -> None:
        self.examination: Examination | None = None
        self.asked = torch.arange(30) % 3

    def score(self, array: LaneArray) -> list[FidelityReport]:
        return [FidelityReport({"fidelity": 1.0}, self.protocol, self.data_digest)] * array.lanes


@pytest.fixture(scope="module")
def array() -> LaneArray:
    return LaneArray([GanConfig(structure=STRUCTURE, seed=seed) for seed in range(2)], OF_NUMBERS)


def scorer(monkeypatch: pytest.MonkeyPatch, function: Any) -> WithOwnScore:
    monkeypatch.setattr(own_score, "own_object", lambda reference: function)
    return WithOwnScore(Plain(), "my.py:mine", OF_NUMBERS)


def scores(monkeypatch: pytest.MonkeyPatch, function: Any, array: LaneArray) -> list[float]:
    return [report.values["mine"] for report in scorer(monkeypatch, function).score(array)]


def only(samples: Tensor) -> Tensor:
    return samples.mean()


def optional(samples: Tensor, held_out: Any = None, labels: Any = 7, *, power: float = 1.0) -> Tensor:
    assert held_out.shape == (30, 1)
    assert (labels, power) == (7, 1.0)
    return samples.mean()


def with_labels(samples: Tensor, held_out: Tensor, labels: Any = None, k: int = 5) -> Tensor:
    assert labels is None
    assert k == 5
    return samples.mean()


def all_of_them(*given: Any) -> Tensor:
    assert len(given) == 3
    return given[0].mean()


@pytest.mark.parametrize("function", [only, optional, with_labels, all_of_them])
def test_a_score_is_given_what_it_asks_for(function, array, monkeypatch):
    found = scores(monkeypatch, function, array)
    assert found == scores(monkeypatch, only, array)
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("function", "takes"),
    [
        (lambda: 1, "none"),
        (lambda samples, held_out, labels, more: 1, "samples, held_out, labels, more"),
        (lambda samples, *, scale: 1, "samples, scale"),
        (lambda k=3: 1, "k"),
    ],
)
def test_a_score_of_other_arguments_is_one_line(function, takes, monkeypatch):
    with pytest.raises(InputError, match=f"must take samples, held_out, labels, or .*, and takes {takes}$"):
        scorer(monkeypatch, function)


@pytest.mark.parametrize(
    "value",
    [2, 2.0, np.float32(2), np.int64(2), np.array([2.0]), torch.tensor(2), torch.tensor([[2.0]]), Fraction(2)],
    ids=repr,
)
def test_whatever_is_one_number_is_a_score(value, array, monkeypatch):
    assert scores(monkeypatch, lambda samples: value, array) == [2.0, 2.0]


@pytest.mark.parametrize(
    "value",
    [None, "2", True, np.bool_(True), 1j, torch.tensor(True), torch.zeros(2), np.zeros((2, 2)), [1.0], {}],
    ids=repr,
)
def test_what_is_no_number_is_one_line_before_anything_is_trained(value, monkeypatch):
    with pytest.raises(OwnCodeError, match="objective 'my.py:mine' must return one number, got") as refused:
        scorer(monkeypatch, lambda samples: value)
    assert "\n" not in str(refused.value)


def test_a_number_that_is_not_finite_is_a_score_which_diverged(array, monkeypatch):
    assert all(map(math.isnan, scores(monkeypatch, lambda samples: math.nan, array)))
    assert scores(monkeypatch, lambda samples: torch.tensor(math.inf), array) == [math.inf] * 2


def test_a_score_that_changes_what_it_is_given_changes_nothing(array, monkeypatch):
    def careless(samples: Tensor, held_out: Tensor, labels: Any) -> Tensor:
        held_out += samples.sum()
        samples.zero_()
        if labels is not None:
            labels.fill_(9)
        return held_out.mean()

    own = scorer(monkeypatch, careless)
    first = own.score(array)
    assert own.score(array) == first
    assert torch.equal(OF_NUMBERS.held_out, NUMBERS)
    monkeypatch.setattr(type(array.networks), "conditional", property(lambda _: True))
    monkeypatch.setattr(array, "shared_latents", lambda *given: torch.zeros(2, 30, 2))
    own.score(array)
    assert own._scorer.asked.max() == 2  # pyright: ignore[reportAttributeAccessIssue]


def test_random_numbers_of_a_score_are_the_same_each_time_and_those_of_the_process_stay(array, monkeypatch):
    def drawn(samples: Tensor) -> float:
        return float(torch.rand(1)) + np.random.rand()  # noqa: NPY002

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    found = scores(monkeypatch, drawn, array)
    assert torch.equal(torch.rand(1), expected)
    assert found[0] == found[1]
    assert scores(monkeypatch, drawn, array) == found


def test_an_error_for_some_samples_alone_is_theirs(array, monkeypatch):
    own = scorer(monkeypatch, lambda samples: 1 / int(samples.std() > 0))
    with pytest.raises(OwnCodeError, match="objective 'my.py:mine' cannot be computed: ZeroDivisionError"):
        own._value(torch.zeros(30, 1), None)
    assert math.isnan(own._value(torch.full((30, 1), math.nan), None))  # it is not asked about these
