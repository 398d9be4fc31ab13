"""What generators are fed is a pure function of keys; classes and codes stand where they belong."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from scipy import stats
from tiny_arrays import structure_of
from torch import Tensor

from gan_core.config.input_error import InputError
from gan_core.config.structure import StructureConfig
from gan_core.lanes.normals import _fill_in_numpy, fill_numbers
from gan_core.lanes.streams import Stream
from gan_core.networks.architectures import build_networks
from gan_core.networks.build import Networks
from gan_core.networks.latents import (
    fill_shared_latents,
    fill_step_latents,
    latent_numbers,
    shared_choices,
    shared_latents,
)

INFOGAN, CGAN, MLP = (structure_of(case) for case in ("infogan", "cgan", "mlp"))
PURPOSES = (Stream.DISCRIMINATOR_LATENTS, Stream.GENERATOR_LATENTS)


def networks(structure: StructureConfig) -> Networks:
    return build_networks(structure, (1, 8, 8), 10)


def step_latents(
    structure: StructureConfig,
    seeds: Sequence[int],
    seen: tuple[int, int] = (64, 0),
    purpose: Stream = Stream.GENERATOR_LATENTS,
    count: int = 6,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    made = networks(structure)
    out = torch.full((len(seeds), count, latent_numbers(structure, made)), torch.nan, dtype=dtype)
    if made.conditional:  # the classes are the caller's
        out[:, :, structure.latent_size :] = torch.eye(10, dtype=dtype)[torch.arange(count) % 7]
    fill_step_latents(out, structure, made, seeds, purpose, seen)
    return out


def shared(structure: StructureConfig, count: int, seed: int = 3, choice: int | None = None) -> Tensor:
    made = networks(structure)
    out = torch.full((1, count, latent_numbers(structure, made)), torch.nan)
    fill_shared_latents(out, structure, made, Stream.SAMPLE_LATENTS, seed, choice)
    return out[0]


@pytest.mark.parametrize(("structure", "size"), [(MLP, 5), (CGAN, 5 + 10), (INFOGAN, 5 + 10 + 2)])
def test_a_latent_is_noise_then_the_class_or_code_then_continuous_codes(structure: StructureConfig, size: int):
    latents = step_latents(structure, [1, 2])
    assert latents.shape == (2, 6, size)
    assert bool(latents.isfinite().all())
    assert torch.equal(latents[:, :, :5], step_latents(MLP, [1, 2]))  # whatever stands after it


@pytest.mark.parametrize("structure", [MLP, CGAN, INFOGAN])
def test_a_lanes_latents_depend_on_its_seed_the_images_seen_the_step_and_the_purpose_alone(structure: StructureConfig):
    latents = step_latents(structure, [1, 2, 3])
    assert torch.equal(step_latents(structure, [1, 2, 3]), latents)
    assert torch.equal(step_latents(structure, [3, 1]), latents[[2, 0]])
    others = (
        step_latents(structure, [4, 5, 6]),
        step_latents(structure, [1, 2, 3], (128, 0)),
        step_latents(structure, [1, 2, 3], (64, 1)),
        step_latents(structure, [1, 2, 3], purpose=Stream.DISCRIMINATOR_LATENTS),
    )
    for other in others:
        assert not bool((other[:, :, :5] == latents[:, :, :5]).any())
        if structure is INFOGAN:
            assert not bool((other[:, :, 15:] == latents[:, :, 15:]).any())
            assert not torch.equal(other[:, :, 5:15], latents[:, :, 5:15])


@pytest.mark.parametrize("structure", [MLP, CGAN, INFOGAN])
def test_float64_sees_the_numbers_of_float32(structure: StructureConfig):
    exact = step_latents(structure, [1, 2], dtype=torch.float64)
    assert torch.equal(exact.float(), step_latents(structure, [1, 2]))
    assert torch.equal(exact.float().double(), exact)


@pytest.mark.parametrize(
    ("distribution", "law"),
    [("normal", stats.norm()), ("uniform", stats.uniform()), ("symmetric_uniform", stats.uniform(-1, 2))],
)
def test_noise_has_the_distribution_that_is_asked_for(distribution, law):
    structure = replace(MLP, latent_distribution=distribution)
    noise = step_latents(structure, [1], count=4000).flatten().numpy()
    assert stats.kstest(noise, law.cdf).pvalue > 1e-3
    assert stats.kstest(shared(structure, 4000).flatten().numpy(), law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("purpose", PURPOSES)
def test_codes_are_uniform_over_all_their_values_and_independent_of_the_noise(purpose: Stream):
    latents = step_latents(INFOGAN, [1], purpose=purpose, count=20_000)[0]
    codes, continuous = latents[:, 5:15], latents[:, 15:]
    assert torch.equal(codes.sum(1), torch.ones(20_000))
    assert set(codes.unique().tolist()) == {0, 1}
    assert stats.chisquare(codes.sum(0).numpy()).pvalue > 1e-3
    assert bool(((continuous >= -1) & (continuous < 1)).all())
    for values in continuous.T:
        assert stats.kstest(values.numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    together = torch.cat((latents[:, :5], codes.argmax(1, keepdim=True), continuous), 1)
    others = torch.corrcoef(together.T) - torch.eye(8)
    assert float(others.abs().max()) < 5 / 20_000**0.5


def test_the_classes_of_a_conditional_generator_are_left_as_they_are():
    made = networks(CGAN)
    condition = torch.eye(10)[torch.tensor([[3, 3, 9], [0, 5, 1]])]
    out = torch.full((2, 3, 15), torch.nan)
    out[:, :, 5:] = condition
    fill_step_latents(out, CGAN, made, [1, 2], Stream.GENERATOR_LATENTS, (0, 0))
    assert bool(out.isfinite().all())
    assert torch.equal(out[:, :, 5:], condition)


@pytest.mark.parametrize("structure", [CGAN, INFOGAN])
def test_shared_latents_give_every_class_or_code_its_share(structure: StructureConfig):
    one_hot = shared(structure, 1005)[:, 5:15]
    assert torch.equal(one_hot.argmax(1), shared_choices(1005, 10))
    assert torch.equal(one_hot.sum(1), torch.ones(1005))
    assert one_hot.sum(0).tolist() == [101] * 5 + [100] * 5
    assert shared_choices(7, 3).tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("structure", [CGAN, INFOGAN])
@pytest.mark.parametrize("choice", [0, 3, 9])
def test_a_choice_is_the_class_of_all_and_changes_nothing_else(structure: StructureConfig, choice: int):
    chosen, free = shared(structure, 31, choice=choice), shared(structure, 31)
    assert chosen[:, 5:15].argmax(1).tolist() == [choice] * 31
    assert torch.equal(chosen[:, 5:15].sum(1), torch.ones(31))
    assert torch.equal(chosen[:, :5], free[:, :5])
    assert torch.equal(chosen[:, 15:], free[:, 15:])


@pytest.mark.parametrize("structure", [MLP, CGAN, INFOGAN])
def test_shared_latents_depend_on_seed_and_purpose_alone(structure: StructureConfig):
    assert torch.equal(shared(structure, 20), shared(structure, 20))
    assert not bool((shared(structure, 20)[:, :5] == shared(structure, 20, seed=4)[:, :5]).any())


@pytest.mark.parametrize(
    ("structure", "choice", "known"),
    [(CGAN, 10, "0 to 9"), (CGAN, -1, "0 to 9"), (INFOGAN, 10, "0 to 9"), (MLP, 0, "none: it is not conditional")],
)
def test_an_unknown_class_is_refused_in_one_line(structure: StructureConfig, choice: int, known: str):
    with pytest.raises(InputError) as refused:
        shared(structure, 4, choice=choice)
    assert str(refused.value) == f"this generator has no class or code {choice}; known: {known}"


def test_an_infogan_of_continuous_codes_alone_and_one_of_a_categorical_code_alone():
    continuous = replace(INFOGAN, categorical_codes=0)
    assert step_latents(continuous, [1]).shape == (1, 6, 7)
    assert shared(continuous, 9).shape == (9, 7)
    with pytest.raises(InputError, match="known: none"):
        shared(continuous, 9, choice=0)
    categorical = replace(INFOGAN, continuous_codes=0)
    assert torch.equal(step_latents(categorical, [1]), step_latents(INFOGAN, [1])[:, :, :15])


@pytest.mark.parametrize("rows", [1, 7, 100, 1005])
@pytest.mark.parametrize("choice", [None, 4])
@pytest.mark.parametrize("structure", [CGAN, INFOGAN, replace(INFOGAN, categorical_codes=0)])
def test_shared_latents_in_parts_are_those_that_are_drawn_at_once(structure: StructureConfig, choice, rows):
    if choice is not None and not networks(structure).choices:
        choice = None
    count = 1005 if rows > 1 else 20
    parts = list(shared_latents(count, rows, structure, networks(structure), Stream.SAMPLE_LATENTS, 3, choice))
    assert [part.shape[1] for part in parts[:-1]] == [rows] * (len(parts) - 1)
    assert torch.equal(torch.cat(parts, 1)[0], shared(structure, count, 3, choice))


def test_classes_of_each_latent_go_with_their_part():
    asked = torch.arange(20) * 7 % 10
    parts = shared_latents(20, 6, CGAN, networks(CGAN), Stream.SAMPLE_LATENTS, 3, asked)
    assert torch.equal(torch.cat(list(parts), 1)[0, :, 5:].argmax(1), asked)


@pytest.mark.parametrize("after", [0, 1, 511, 512, 1025])
@pytest.mark.parametrize("distribution", ["normal", "uniform", "symmetric_uniform"])
def test_numbers_of_a_stream_can_be_drawn_from_any_place_on_with_or_without_a_compiler(distribution: str, after: int):
    whole = torch.empty(2000)
    fill_numbers(whole, distribution, 5, Stream.SAMPLE_LATENTS)
    assert whole.unique().numel() > 1990
    for fill in (fill_numbers, _fill_in_numpy):
        some = torch.empty(30, 20, dtype=torch.float64)
        fill(some, distribution, 5, Stream.SAMPLE_LATENTS, after=after)
        assert torch.equal(some.flatten().float(), whole[after : after + 600])
