"""The reference of image scores: it is cached, and a file that is damaged or of another data set is never used."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch_twins import drawn

from gan_core.data.dataset import Dataset
from gan_core.fidelity import discrepancy, image_reference
from gan_core.fidelity.copying import nearest_distance
from gan_core.fidelity.discrepancy import energy_distance
from gan_core.fidelity.features.extractors import extract_lanes
from gan_core.fidelity.features.principal_components import PrincipalComponents, fit_principal_components
from gan_core.fidelity.image_reference import ImageReference
from gan_core.fidelity.neighbours import _kth_smallest, pair_scores, prdc, real_neighbours
from gan_core.fidelity.value_scorers import on_host


def images(seed: int = 0, held_out: int = 30) -> Dataset:
    train, others = drawn(80, 1, 4, 4, seed=seed).float(), drawn(held_out, 1, 4, 4, seed=seed + 1).float()
    return Dataset("images:x", train, None, others, None, 0, f"images-{seed}-{held_out}")


def made(dataset: Dataset, samples: int = 20) -> ImageReference:
    extractor = fit_principal_components(dataset)
    return image_reference.image_reference(dataset, extractor, extractor, samples)


def numbers(reference: ImageReference) -> list[list[float]]:
    tensors = (reference.mean, reference.covariance, reference.neighbours.squared_radii, reference.held_out_distances)
    return [tensor.flatten().tolist() for tensor in (*tensors, reference.train.features)]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path))
    return tmp_path


def kept_file(cache: Path) -> Path:
    (path,) = cache.glob("reference-*.safetensors")
    return path


def test_what_was_kept_is_read_bit_for_bit_and_not_computed_again(cache, monkeypatch):
    first = made(images())
    assert list(cache.glob("*.partial")) == []
    monkeypatch.setattr(image_reference, "_computed", lambda *_: pytest.fail("computed again"))
    again = made(images())
    assert numbers(again) == numbers(first)
    assert (again.precision_real, again.recall_real) == (first.precision_real, first.recall_real)


@pytest.mark.parametrize("damage", ["cut", "empty", "a tensor less", "a tensor of another shape"])
def test_a_damaged_file_is_computed_again_and_replaced(cache, damage):
    first = numbers(made(images()))
    path = kept_file(cache)
    whole = path.read_bytes()
    tensors = load_file(path)
    if damage in ("cut", "empty"):
        path.write_bytes(whole[: len(whole) // 2 if damage == "cut" else 0])
    elif damage == "a tensor less":
        save_file({name: tensor for name, tensor in tensors.items() if name != "real"}, path)
    else:
        save_file({**tensors, "train": tensors["train"][:5].clone()}, path)
    assert numbers(made(images())) == first
    assert path.read_bytes() == whole


def test_other_data_samples_and_sizes_have_files_of_their_own(cache):
    for dataset, samples in ((images(), 20), (images(), 21), (images(7), 20), (images(held_out=31), 20)):
        made(dataset, samples)
    made(replace(images(), held_out=drawn(29, 1, 4, 4).float()))
    assert len(list(cache.glob("reference-*.safetensors"))) == 5


def spread_features(seed: int, lanes: int = 2) -> Tensor:
    """Features [L, 200, 64]; the second lane is farther from N(0, 1) than the first."""
    return drawn(lanes, 200, 64, seed=seed) * torch.tensor([1.05, 1.2])[:lanes, None, None] + 0.1


def test_in_float32_the_scores_of_pairs_are_those_of_float64_far_within_their_errors():
    lanes, real = spread_features(0), drawn(300, 64, seed=9)
    (exact, exact_error, _), exact_shares = pair_scores(lanes, real_neighbours(real))
    (value, error, _), shares = pair_scores(lanes.float(), real_neighbours(real.float()))
    assert exact[0] != exact[1]
    assert ((value - exact).abs() < 1e-5).all()
    assert ((value - exact).abs() < 1e-3 * exact_error).all()
    np.testing.assert_allclose(error, exact_error, rtol=1e-3)
    for one, other in zip(astuple(shares), astuple(exact_shares), strict=True):
        np.testing.assert_allclose(one, other, atol=2 / 200)


def test_features_far_from_the_origin_keep_their_neighbours_in_float32():
    """The real mean is subtracted first; products of the original features would lose all digits of a distance."""
    lanes, real = spread_features(0).float() + 1000, drawn(300, 64, seed=9).float() + 1000
    exact = prdc(lanes.double(), real_neighbours(real.double()))
    for one, other in zip(astuple(prdc(lanes, real_neighbours(real))), astuple(exact), strict=True):
        np.testing.assert_allclose(one, other, atol=2 / 200)


def test_the_energy_distance_of_points_in_float32_is_off_by_less_than_1e_6_of_the_mean_distance():
    lanes, real = drawn(2, 300, 2) * torch.tensor([1.0, 1.5])[:, None, None], drawn(400, 2, seed=1)
    lanes, real = lanes.float(), real.float()
    value, error, _ = energy_distance(lanes, real)
    exact, exact_error, _ = energy_distance(lanes.double(), real.double())
    assert exact[0] != exact[1]
    np.testing.assert_allclose(value, exact, atol=1e-6 * 1.7)
    np.testing.assert_allclose(error, exact_error, rtol=1e-4)


def test_scores_of_the_same_products_are_those_of_each_alone_bit_for_bit(monkeypatch):
    """This is about reading with torch; test_neighbours compares C with it."""
    monkeypatch.setattr("gan_core.fidelity.neighbours.read_in_c", lambda *_: False)
    lanes, real = spread_features(1), drawn(90, 64, seed=9)
    _, shares = pair_scores(lanes, real_neighbours(real))
    assert torch.equal(torch.stack(astuple(shares)), torch.stack(astuple(prdc(lanes, real_neighbours(real)))))


@pytest.mark.parametrize("rows", [1, 7, 10_000])
def test_however_many_rows_are_formed_at_once_the_scores_are_the_same_to_1e_9(monkeypatch, rows):
    """Forms all rows at once, as on a GPU."""
    lanes, real = spread_features(2), drawn(90, 64, seed=9)

    def found() -> Tensor:
        kernel, shares = pair_scores(lanes, real_neighbours(real))
        points = energy_distance(lanes[:, :, :2], real[:, :2])
        return torch.stack((*kernel, *astuple(shares), *points, *nearest_distance(lanes, real)[:, :2].T))

    expected = found()
    monkeypatch.setattr(discrepancy, "ROWS_AT_ONCE", rows)
    np.testing.assert_allclose(found(), expected, rtol=1e-9)


def test_features_of_all_lanes_together_are_those_lane_by_lane():
    dataset = images()
    extractor: PrincipalComponents = fit_principal_components(dataset)
    lanes = torch.stack((dataset.train[:40], dataset.train[40:80]))
    apart, none = extract_lanes(extractor, lanes)
    together, _ = extract_lanes(extractor, lanes, together=True)
    assert none is None
    assert together.shape == apart.shape == (2, 40, extractor.features)
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-6)
    assert not torch.equal(apart[0], apart[1])


def test_scores_on_the_host_stay_as_they_are():
    scores = {"one": drawn(3), "two": drawn(3, seed=1)}
    assert on_host(scores) == scores


@pytest.mark.parametrize("by_numpy", [True, False])
def test_the_kth_smallest_is_that_of_a_sort_on_either_device(by_numpy):
    strip = drawn(7, 33).round(decimals=1)
    np.testing.assert_array_equal(_kth_smallest(strip.clone(), 5, by_numpy=by_numpy), strip.sort(1).values[:, 5])
