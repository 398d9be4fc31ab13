"""The contract of all feature extractors, and the choice of one."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gan_core.config.input_error import InputError
from gan_core.data.dataset import Dataset
from gan_core.fidelity.features.extractors import extract, load_extractor
from gan_core.fidelity.features.feature_extractor import FeatureExtractor

KINDS = ["classifier", "pca", "own.pt2"]  # a .pt2 stands for a person's own files; inception has tests of its own


def shapes(images: int = 60, seed: int = 0, labels: bool = True) -> Dataset:
    """Images of 8x8 pixels in three classes that differ in brightness."""
    source = np.random.default_rng(seed)
    classes = torch.from_numpy(source.integers(0, 3, images))
    drawn = torch.from_numpy(source.standard_normal((images, 1, 8, 8)).astype(np.float32))
    samples = (drawn / 5 + (classes - 1).view(-1, 1, 1, 1) / 2).clamp(-1, 1)
    given = classes if labels else None
    return Dataset("shapes", samples, given, samples, given, 3 if labels else 0, f"shapes-{images}-{seed}")


def save_program(path: Path) -> Path:
    network = nn.Sequential(nn.Flatten(), nn.utils.skip_init(nn.Linear, 64, 5)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view(parameter.shape).sin())
    images = {0: torch.export.Dim.DYNAMIC}
    torch.export.save(torch.export.export(network, (torch.zeros(4, 1, 8, 8),), dynamic_shapes=(images,)), path)
    return path


@pytest.fixture(scope="module")
def extractors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureExtractor]:
    folder = tmp_path_factory.mktemp("extractors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_SWEEP_CACHE", str(folder))
        own = load_extractor(shapes(), str(save_program(folder / "own.pt2")))
        return {"own.pt2": own} | {kind: load_extractor(shapes(), kind) for kind in KINDS[:2]}


@pytest.fixture(params=KINDS)
def extractor(request: pytest.FixtureRequest, extractors: dict[str, FeatureExtractor]) -> FeatureExtractor:
    return extractors[request.param]


def test_features_are_as_many_as_the_extractor_says_and_its_name_gives_kind_number_and_hash(extractor):
    features, probabilities = extractor(shapes().held_out)
    assert features.shape == (60, extractor.features)
    assert features.dtype == torch.float32
    assert re.fullmatch(rf"(classifier|pca|own){extractor.features}-[0-9a-f]{{12}}", extractor.name)
    assert extractor.classifies == (probabilities is not None)
    assert extractor.classifies == extractor.name.startswith("classifier")


def test_the_features_of_an_image_do_not_depend_on_the_others(extractor):
    images = shapes().held_out
    together = extractor(images)[0]
    assert float((together[0] - together[1]).abs().max()) > 0.1
    for batch in (images[3:4], images[3:10], images.flip(0)[56 : 56 + 1]):
        np.testing.assert_allclose(extractor(batch)[0][0].numpy(), together[3].numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_an_image_that_is_not_finite_has_no_finite_features_and_harms_no_other(extractor, broken):
    images = shapes().held_out[:4].clone()
    images[2, 0, 5, 5] = broken
    features = extractor(images)[0]
    assert not bool(features[2].isfinite().all())
    np.testing.assert_allclose(
        features[[0, 1, 3]].numpy(), extractor(shapes().held_out[[0, 1, 3]])[0].numpy(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("at_once", [1, 7, 60, 500])
def test_extracting_in_batches_equals_one_call(extractor, at_once):
    images = shapes().held_out
    features, probabilities = extract(extractor, images, at_once)
    expected, shares = extractor(images)
    np.testing.assert_allclose(features.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)
    assert (probabilities is None) == (shares is None)
    if probabilities is not None and shares is not None:
        np.testing.assert_allclose(probabilities.numpy(), shares.numpy(), rtol=1e-4, atol=1e-5)


def test_an_extractor_asked_for_the_device_it_is_on_is_the_same_one(extractor):
    images = shapes().held_out
    assert extractor.to("cpu").name == extractor.name
    assert torch.equal(extractor.to(torch.device("cpu"))(images)[0], extractor(images)[0])


@pytest.mark.parametrize("kind", ["classifier", "pca"])
def test_moving_an_extractor_leaves_the_one_that_was_moved_where_it_is(extractors, kind):
    images = shapes().held_out
    before = extractors[kind](images)[0]
    moved = extractors[kind].to("meta")
    assert moved(images.to("meta"))[0].device.type == "meta"
    assert moved.name == extractors[kind].name
    assert torch.equal(extractors[kind](images)[0], before)


@pytest.mark.parametrize("kind", ["classifier", "pca"])
def test_loading_again_gives_the_same_bits_and_other_data_another_name(monkeypatch, tmp_path, kind):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path))
    one, again = load_extractor(shapes(), kind), load_extractor(shapes(), kind)
    assert one.name == again.name
    assert torch.equal(one(shapes().held_out)[0], again(shapes().held_out)[0])
    if kind == "pca":
        assert load_extractor(shapes(seed=1), kind).name != one.name


def test_auto_takes_the_classifier_where_there_are_labels_and_principal_components_elsewhere(extractors, monkeypatch):
    assert load_extractor(shapes(labels=False)).name.startswith("pca")
    monkeypatch.setattr("gan_core.fidelity.features.extractors.load_classifier", lambda *_: extractors["classifier"])
    assert load_extractor(shapes()) is extractors["classifier"]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("pcs", "unknown features 'pcs'; did you mean 'pca'?, or the path of a .pt, .ts, .pt2 file"),
        (
            "net.onnx",
            "unknown features 'net.onnx'; known: auto, classifier, classifier+pixels, pca, pixels, ",
        ),
        ("gone.pt2", "no features file gone.pt2; give a .pt, .ts, .pt2 file that is there"),
    ],
)
def test_a_kind_that_is_not_there_is_refused_in_one_line_that_names_those_that_are(kind, line, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load_extractor(shapes(), kind)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["auto", "pca", "classifier", "net.pt"])
def test_weights_go_with_inception_alone(kind, tmp_path):
    with pytest.raises(InputError, match=f"weights go with features 'inception', got features '{kind}'"):
        load_extractor(shapes(), kind, tmp_path / "weights.pth")


def test_the_classifier_of_a_data_set_without_labels_is_refused():
    with pytest.raises(InputError, match="'shapes' has no labels; choose 'pca'"):
        load_extractor(shapes(labels=False), "classifier")
