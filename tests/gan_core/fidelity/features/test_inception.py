"""The network of the usual FID, with random weights: how images are passed to it, and where its file is searched for.

Whether the real weights give the published features is not tested here, because that needs their file.
"""

import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pickled_bomb import Bomb
from torch import nn

from gan_core.config.input_error import InputError
from gan_core.data.dataset import Dataset
from gan_core.fidelity.features import inception
from gan_core.fidelity.features.extractors import load_extractor
from gan_core.fidelity.features.inception import FEATURES, WEIGHTS_FILES, InceptionExtractor, load_inception, to_bytes


def data(*shape: int) -> Dataset:
    images = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (4, *shape)).astype(np.float32))
    return Dataset("noise", images, None, images, None, 0, "noise")


def unreachable(*arguments: object, **settings: object) -> dict[str, torch.Tensor]:
    raise AssertionError("nothing may be fetched")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights for the network of torch-fidelity, with a variance that keeps features near 1."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(module, "load_state_dict_from_url", lambda *arguments, **settings: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network = module.FeatureExtractorInceptionV3("random", ["2048"])
    state = {name: tensor * 6**0.5 if tensor.ndim == 4 else tensor for name, tensor in network.state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def extractor(weights: Path) -> InceptionExtractor:
    """The extractor with these weights, loaded without access to downloads; the global generator is not advanced."""
    before = torch.get_rng_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", unreachable)
        loaded = load_extractor(data(1, 8, 8), "inception", weights)
    assert isinstance(loaded, InceptionExtractor)
    assert torch.equal(torch.get_rng_state(), before)
    return loaded


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which torch.hub looks for files."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def refusal(weights: Path | None, shape: tuple[int, ...] = (1, 8, 8)) -> str:
    """The one-line message with which the weights are refused."""
    with pytest.raises(InputError) as caught:
        load_inception(data(*shape), weights)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_features_are_the_networks_2048_for_grey_images_in_all_three_channels(extractor):
    images = data(1, 8, 8).held_out[:3]
    features, probabilities = extractor(images)
    assert features.shape == (3, FEATURES)
    assert features.dtype == torch.float32
    assert probabilities is None
    coloured = ((images + 1) * 127.5).round().to(torch.uint8).repeat(1, 3, 1, 1)
    assert torch.equal(features, extractor.network(coloured)[0])
    assert 0.1 < float(features.abs().mean()) < 10
    assert float((features[0] - features[1]).abs().max()) > 1e-3
    assert features.requires_grad is False


def test_an_image_that_is_not_finite_has_no_features_and_batches_are_cut_small(extractor, monkeypatch):
    monkeypatch.setattr(inception, "IMAGES_AT_ONCE", 1)
    images = data(3, 8, 9).held_out[:2].clone()
    images[0, 1, 2, 3] = torch.nan
    features = extractor(images)[0]
    assert features.isnan().all(1).tolist() == [True, False]


def test_the_extractor_says_what_it_is_with_a_hash_of_its_file(extractor, weights):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    expected = hashlib.sha256(f"{inception.RECIPE}:{digest}".encode()).hexdigest()[:12]
    assert extractor.name == f"inception2048-{expected}"
    assert (extractor.features, extractor.classifies) == (2048, False)
    assert extractor.to("cpu") is extractor
    moved = extractor.to("meta")
    assert {weight.device.type for weight in moved.network.parameters()} == {"meta"}
    assert {weight.device.type for weight in extractor.network.parameters()} == {"cpu"}


def test_every_byte_survives_the_way_to_the_unit_range_and_back():
    levels = torch.arange(256).to(torch.uint8)
    images = (levels.float() / 127.5 - 1).view(1, 1, 16, 16)
    assert torch.equal(to_bytes(images), levels.view(1, 1, 16, 16).expand(1, 3, 16, 16))
    beyond = torch.tensor([-1.2, 1.2, -torch.inf, torch.inf]).view(1, 1, 2, 2)
    assert to_bytes(beyond)[0, 2].flatten().tolist() == [0, 255, 0, 255]


@pytest.mark.parametrize("name", WEIGHTS_FILES)
def test_the_usual_file_is_taken_from_torch_hubs_folder_and_must_be_what_its_name_says(name, hub, weights):
    shutil.copy(weights, hub / name)
    said = refusal(None)
    assert said.startswith(f"{hub / name} is not the file its name says: its SHA-256 must begin with 6726825d, got ")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert f"got {digest[:12]}; fetch it again, or rename it" in said


def test_a_file_whose_name_keeps_its_promise_is_taken(hub, weights, extractor, monkeypatch):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    monkeypatch.setattr(inception, "WEIGHTS_FILES", ("absent.pth", f"random-{digest[:8]}.pth"))
    (hub / f"random-{digest[:8]}.pth").hardlink_to(weights)
    found = load_inception(data(1, 8, 8))
    assert found.name == extractor.name


def test_weights_that_are_nowhere_are_refused_with_the_file_the_folder_and_the_source(hub, tmp_path):
    said = refusal(None)
    assert WEIGHTS_FILES[0] in said
    assert f"it is not in {hub}; put it there from https://github.com/mseitzer/pytorch-fid" in said
    assert "or give its path as the weights" in said
    assert refusal(tmp_path / "gone.pth").startswith(f"no weights file {tmp_path / 'gone.pth'}; give the path of ")


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    (tmp_path / "w.pth").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    assert refusal(tmp_path / "w.pth").endswith('not installed; pip install "gan-sweep[inception]"')


@pytest.mark.parametrize("shape", [(2, 8, 8), (1,)])
def test_samples_that_are_no_images_of_one_or_three_channels_are_refused(shape):
    assert f"samples of data set 'noise' are {list(shape)}; choose 'pca'" in refusal(None, shape)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_weights_file_is_never_unpickled_beyond_tensors(new_format, tmp_path):
    pytest.importorskip("torch_fidelity")
    path = tmp_path / "bomb.pth"
    torch.save({"weight": Bomb(tmp_path / "exploded")}, path, _use_new_zipfile_serialization=new_format)
    assert "is not a file of torch weights" in refusal(path)
    assert not (tmp_path / "exploded").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"no weights" * 100])
def test_a_file_that_holds_no_weights_is_refused(content, tmp_path):
    pytest.importorskip("torch_fidelity")
    (tmp_path / "w.pth").write_bytes(content)
    assert "is not a file of torch weights" in refusal(tmp_path / "w.pth")


@pytest.mark.parametrize("state", [nn.utils.skip_init(nn.Linear, 2, 2).state_dict(), torch.zeros(3), {"fc": 1}])
def test_weights_of_another_network_are_refused(state, tmp_path):
    pytest.importorskip("torch_fidelity")
    torch.save(state, tmp_path / "other.pth")
    assert "holds no weights of the FID's Inception-v3" in refusal(tmp_path / "other.pth")
