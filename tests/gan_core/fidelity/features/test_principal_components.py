"""Tests principal components against scikit-learn and closed forms, and the rule for large images."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA

import gan_core.fidelity.features.principal_components as principal_components
from gan_core.config.input_error import InputError
from gan_core.data.dataset import Dataset
from gan_core.fidelity.features.principal_components import PrincipalComponents, fit_principal_components


def unlabelled(images: torch.Tensor, digest: str = "d") -> Dataset:
    return Dataset("unlabelled", images, None, images, None, 0, digest)


def drawn(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    """Images whose pixels have different variances, so that all components are distinct."""
    source = np.random.default_rng(seed)
    pixels = int(np.prod(shape))
    mixed = (
        source.standard_normal((count, pixels)) * np.linspace(0.2, 1, pixels) @ source.standard_normal((pixels, pixels))
    )
    return torch.tanh(torch.from_numpy(mixed / pixels).float()).view(count, *shape)


def test_features_are_scikit_learns_components_divided_by_one_number(digits):
    extractor = fit_principal_components(digits)
    theirs = PCA(64, svd_solver="full").fit(digits.train.flatten(1).double().numpy())
    kept = theirs.explained_variance_ > 1e-10 * theirs.explained_variance_[0]
    assert extractor.features == kept.sum() < 64  # three pixels of the digits are the same in all of them
    scale = np.sqrt(theirs.explained_variance_[kept].mean())
    expected = theirs.transform(digits.held_out.flatten(1).double().numpy())[:, kept] / scale
    mine = extractor(digits.held_out)[0].double().numpy()
    signs = np.sign((mine * expected).sum(0))
    assert float(np.abs(expected).max()) > 1
    np.testing.assert_allclose(mine, expected * signs, atol=2e-4)


def test_over_the_training_split_features_have_mean_0_mean_variance_1_and_no_correlation(digits):
    covariance = torch.cov(fit_principal_components(digits)(digits.train)[0].double().T)
    features = fit_principal_components(digits)(digits.train)[0].double()
    np.testing.assert_allclose(features.mean(0).numpy(), 0, atol=1e-5)
    assert float(covariance.diagonal().mean()) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose((covariance - covariance.diagonal().diag()).numpy(), 0, atol=1e-4)


def test_components_come_in_falling_order_of_variance_and_are_not_whitened(digits):
    variances = fit_principal_components(digits)(digits.train)[0].double().var(0)
    assert bool((variances.diff() <= 1e-6).all())
    assert float(variances[0] / variances[30]) > 10


def test_the_largest_entry_of_every_direction_is_positive(digits):
    directions = fit_principal_components(digits).directions
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    assert float(largest.min()) > 0


@pytest.mark.parametrize(
    ("images", "expected"),
    [(drawn(200, 1, 16, 16), 64), (drawn(10, 1, 16, 16), 9), (drawn(200, 1, 3, 3), 9), (drawn(50, 1), 1)],
    ids=["64 of 256", "one less than the images", "the pixels", "1-D samples"],
)
def test_there_are_at_most_64_components_and_no_more_than_the_images_span(images, expected):
    extractor = fit_principal_components(unlabelled(images))
    assert extractor.features == expected
    assert extractor(images)[0].shape == (len(images), expected)
    assert extractor.name.startswith(f"pca{expected}-")


def test_images_that_are_all_the_same_have_no_components():
    for count in (1, 5):
        with pytest.raises(InputError, match="images that differ, and those of 'unlabelled' are all the same"):
            fit_principal_components(unlabelled(torch.full((count, 1, 4, 4), 0.3)))


@pytest.mark.parametrize(
    ("shape", "pool"),
    [((1, 28, 28), 1), ((1, 32, 32), 1), ((3, 32, 32), 2), ((1, 64, 64), 2), ((3, 64, 64), 4), ((3, 37, 50), 3)],
)
def test_a_large_image_is_first_averaged_over_the_smallest_squares_that_leave_1024_values(shape, pool):
    extractor = fit_principal_components(unlabelled(drawn(6, 1).view(6, 1, 1, 1) * torch.ones(6, *shape)))
    assert extractor.pool_pixels == pool
    assert len(extractor.mean) <= 1024
    assert pool == 1 or shape[0] * -(-shape[1] // (pool - 1)) * -(-shape[2] // (pool - 1)) > 1024


def test_features_of_large_images_are_those_of_the_averaged_ones():
    images = drawn(40, 3, 20, 20)
    images = F.interpolate(images, scale_factor=2)
    large, small = (fit_principal_components(unlabelled(x)) for x in (images, F.avg_pool2d(images, 2)))
    assert (large.pool_pixels, small.pool_pixels) == (3, 2)
    pooled = PrincipalComponents("by hand", large.mean, large.directions, 1)
    np.testing.assert_allclose(
        large(images)[0].numpy(), pooled(F.avg_pool2d(images, 3, ceil_mode=True))[0].numpy(), rtol=1e-6, atol=1e-6
    )


def test_of_many_images_evenly_spaced_ones_are_used(monkeypatch):
    images = drawn(61, 1, 4, 4)
    monkeypatch.setattr(principal_components, "MOST_IMAGES", 20)
    some = fit_principal_components(unlabelled(images))
    chosen = images[[i * 61 // 20 for i in range(20)]]
    assert torch.equal(some.directions, fit_principal_components(unlabelled(chosen)).directions)
    monkeypatch.setattr(principal_components, "MOST_IMAGES", 61)
    assert not torch.equal(some.directions, fit_principal_components(unlabelled(images)).directions)


def test_components_are_the_same_bits_with_any_number_of_the_callers_threads():
    images = drawn(500, 1, 20, 20)
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(fit_principal_components(unlabelled(images)))
    torch.set_num_threads(1)
    assert torch.equal(found[0].directions, found[1].directions)
    assert torch.equal(found[0].mean, found[1].mean)


def test_the_name_changes_with_the_data():
    images = drawn(20, 1, 4, 4)
    assert fit_principal_components(unlabelled(images)).name == fit_principal_components(unlabelled(images)).name
    assert (
        fit_principal_components(unlabelled(images, "other")).name != fit_principal_components(unlabelled(images)).name
    )
