"""A loss that is added in one place, LOSSES, is trained and watched, and compiled where C knows its calls."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny_arrays import assert_all_same, configs_of, lane_results, trained
from torch import Tensor

from gan_core.config.conditions import Execution
from gan_core.config.fields import describe
from gan_core.config.gan import GanConfig
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset
from gan_core.game.losses import LOSSES, Loss
from gan_core.lanes.axis import lanewise
from gan_core.native.toolchain import told
from gan_core.training.lane_array import LaneArray
from gan_core.training.watch import SUMS

Few = Callable[[str], Dataset]
STEPS = 5
pytestmark = pytest.mark.usefixtures("arithmetic")


def _softplus(logits: Tensor) -> Tensor:
    return lanewise(F.softplus, logits).mean(1)


# Jolicoeur-Martineau 2019, section 3: D judges pairs of a real sample and a fake one.
PAIRED = Loss(lambda real, fake, smoothing: _softplus(fake - real), lambda fake: _softplus(-fake))
RANKED = Loss(lambda real, fake, smoothing: (fake - real).sort(1).values.mean(1), lambda fake: -fake.mean(1))


def made(loss: Loss, few: Few, monkeypatch: pytest.MonkeyPatch, execution: Execution, lanes: slice) -> LaneArray:
    """Lanes of a new game. Its name stands in the configuration's list of losses, which loads without torch."""
    known = describe(StructureConfig)["loss"]
    monkeypatch.setitem(describe(StructureConfig), "loss", replace(known, choices=(*known.choices, "new")))  # pyright: ignore[reportArgumentType]
    monkeypatch.setitem(LOSSES, "new", loss)  # pyright: ignore[reportArgumentType]
    configs = configs_of("gaussian moments least_squares")[lanes]
    structure = replace(configs[0].structure, discriminator_input="sample", loss="new")
    new = [GanConfig(structure=structure, lane=x.lane, seed=x.seed, data_seed=x.data_seed) for x in configs]
    return trained(new, few("gaussian"), torch.float64, STEPS, execution=execution)


def test_a_new_loss_is_trained_compiled_and_watched(few: Few, monkeypatch: pytest.MonkeyPatch):
    compiled, eager = (made(PAIRED, few, monkeypatch, way, slice(None)) for way in ("compiled", "eager"))
    assert (compiled.carried_out, eager.carried_out) == ("compiled", "eager")
    expected = eager.state.tensors()
    for name, tensor in compiled.state.tensors().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    losses = compiled.state.watch.sums[:, SUMS.index("d_loss")] / STEPS
    assert bool((losses != 0).all())
    assert len(set(losses.tolist())) == 4
    alone = made(PAIRED, few, monkeypatch, "compiled", slice(1, 2))
    assert_all_same(alone, lane_results(compiled)[1:2])


@pytest.fixture
def forgotten() -> None:
    """Nothing has been told yet in this process."""
    told.cache_clear()


def test_a_new_loss_that_c_does_not_know_is_replayed_and_told_once(
    few: Few, monkeypatch: pytest.MonkeyPatch, forgotten: None
):
    eager = made(RANKED, few, monkeypatch, "eager", slice(2))
    assert told() == []
    line = "structure.loss 'new' cannot be compiled .aten.sort.*; steps are replayed instead"
    with pytest.warns(UserWarning, match=line) as said:
        compiled = made(RANKED, few, monkeypatch, "compiled", slice(2))
    automatic = made(RANKED, few, monkeypatch, "auto", slice(2))  # filterwarnings makes an error of a second warning
    assert len(said) == len(told()) == 1
    for array in (compiled, automatic):
        assert array.carried_out == "replayed"
        assert_all_same(array, lane_results(eager))


def test_a_replay_that_was_asked_for_is_not_told(few: Few, monkeypatch: pytest.MonkeyPatch, forgotten: None):
    assert made(RANKED, few, monkeypatch, "replayed", slice(1)).carried_out == "replayed"
    assert told() == []
