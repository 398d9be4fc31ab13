"""A user's feature network, from TorchScript or torch.export files, and what is refused."""

import hashlib
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pickled_bomb import Bomb
from torch import Tensor, nn

from gan_core.config.input_error import InputError
from gan_core.data.dataset import Dataset
from gan_core.fidelity.features.own_network import OwnExtractor, load_own_network

DYNAMIC = ({0: torch.export.Dim.DYNAMIC},)


class Network(nn.Module):
    """The means over the quarters of an image minus a constant inside the program, passed through `after`."""

    def __init__(self, after: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(4)
        self.after = after or nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.after((self.pool(images) - torch.tensor([0.25])).flatten(1))


class Each(nn.Module):
    """A function as a module, for tracing and exporting."""

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> object:
        return self.function(images)


def data() -> Dataset:
    images = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (12, 1, 8, 8)).astype(np.float32))
    return Dataset("noise", images, None, images, None, 0, "noise")


def trace(path: Path, network: nn.Module, images: int = 4) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated; files of it are still around
        torch.jit.save(torch.jit.trace(network, torch.zeros(images, 1, 8, 8), check_trace=False), str(path))
    return path


def export(path: Path, network: nn.Module, dynamic: object = DYNAMIC) -> Path:
    torch.export.save(torch.export.export(network, (torch.zeros(4, 1, 8, 8),), dynamic_shapes=dynamic), path)  # pyright: ignore[reportArgumentType]
    return path


def save(path: Path, network: nn.Module) -> Path:
    return export(path, network) if path.suffix == ".pt2" else trace(path, network)


def refusal(path: Path) -> str:
    """The one-line message with which a file is refused."""
    with pytest.raises(InputError) as caught:
        load_own_network(path, data())
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".pt", ".ts", ".pt2"])
def test_a_file_gives_its_networks_own_features_for_any_number_of_images(suffix, tmp_path):
    path = save(tmp_path / f"net{suffix}", Network().eval())
    extractor = load_own_network(path, data())
    images = data().held_out
    for count in (1, 2, 5, 12):
        features, probabilities = extractor(images[:count])
        assert probabilities is None
        quarters = images[:count].view(-1, 2, 4, 2, 4).mean((2, 4)).flatten(1) - 0.25
        np.testing.assert_allclose(features.numpy(), quarters.numpy(), atol=1e-6)
    assert extractor.features == 4
    assert extractor.name == f"own4-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_features_are_float32_whatever_the_network_gives_and_nan_where_an_image_is_not_finite(suffix, tmp_path):
    network = Network(Each(lambda x: x.nan_to_num(0.0).double()))  # pyright: ignore[reportArgumentType]
    extractor = load_own_network(save(tmp_path / f"net{suffix}", network), data())
    images = data().held_out[:3].clone()
    images[1, 0, 0, 0] = torch.nan
    features = extractor(images)[0]
    assert features.dtype == torch.float32
    assert features.isnan().all(1).tolist() == [False, True, False]


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_network_is_made_anew_on_another_device_with_the_constants_inside_it(suffix, tmp_path):
    extractor = load_own_network(save(tmp_path / f"net{suffix}", Network().eval()), data())
    asked = []

    def place(device: torch.device) -> Callable[[Tensor], Tensor]:
        asked.append(device)
        return extractor.place(torch.device("cpu"))

    moved = OwnExtractor("name", 4, torch.device("meta"), extractor.network, place).to("cpu")
    assert asked == [torch.device("cpu")]
    assert torch.equal(moved(data().held_out)[0], extractor(data().held_out)[0])
    assert extractor.to("cpu") is extractor


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (lambda x: x.mean((1, 2, 3)), "must give features [n, D], got [2] for images [2, 1, 8, 8]; flatten them"),
        (lambda x: x[:, :, :2], "must give features [n, D], got [2, 1, 2, 8] for images"),
        (lambda x: x.flatten(), "must give features [n, D], got [128] for images"),
        (lambda x: x.flatten(1)[:, :0], "must give features [n, D], got [2, 0]"),
        (lambda x: (x.flatten(1), x.flatten(1)), "must give one tensor of floating numbers, got tuple; return"),
        (lambda x: x.flatten(1).long(), "must give one tensor of floating numbers, got torch.int64; return"),
        (lambda x: x.flatten(1).sub(5).log(), "must give finite features for training images in [-1, 1], got NaN"),
        (lambda x: (x - x.mean(0)).flatten(1), "features of an image must not depend on the others; save it in eval"),
    ],
    ids=["1-D", "4-D", "no images", "no features", "a tuple", "whole numbers", "not finite", "batch statistics"],
)
@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_network_that_gives_no_features_is_refused_with_the_rule_it_breaks(function, line, suffix, tmp_path):
    assert line in refusal(save(tmp_path / f"net{suffix}", Each(function)))


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_network_for_images_of_another_shape_is_refused(suffix, tmp_path):
    path = save(tmp_path / f"net{suffix}", Each(lambda x: x.flatten(1) @ torch.ones(64, 3)))
    images = torch.rand(4, 1, 9, 9)
    with pytest.raises(InputError, match=r"must take images \[2, 1, 9, 9\]: ") as caught:
        load_own_network(path, Dataset("nines", images, None, images, None, 0, "nines"))
    assert "\n" not in str(caught.value)


def test_a_script_with_a_fixed_batch_is_refused(tmp_path):
    assert "[2, 1, 8, 8]" in refusal(trace(tmp_path / "net.pt", Each(lambda x: x.reshape(4, 64))))


@pytest.mark.parametrize("images", [2, 4])
def test_a_program_with_a_fixed_batch_is_refused_with_what_to_export_it_with(images, tmp_path):
    program = torch.export.export(Network().eval(), (torch.zeros(images, 1, 8, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    said = refusal(tmp_path / "net.pt2")
    assert f"was exported for {images}; export it with dynamic_shapes=({{0: torch.export.Dim.DYNAMIC}},)" in said


def test_a_program_of_two_inputs_is_refused(tmp_path):
    class Two(nn.Module):
        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return (one + other).flatten(1)

    images = torch.zeros(4, 1, 8, 8)
    torch.export.save(torch.export.export(Two(), (images, images), dynamic_shapes=DYNAMIC * 2), tmp_path / "net.pt2")
    assert "must take one tensor of images, and takes 2 inputs" in refusal(tmp_path / "net.pt2")


@pytest.mark.parametrize("suffix", [".pt", ".ts", ".pt2"])
def test_a_file_that_is_not_what_its_suffix_says_is_refused(suffix, tmp_path):
    path = tmp_path / f"net{suffix}"
    for content in (b"", b"not a network" * 50):
        path.write_bytes(content)
        assert "is not " in refusal(path)
    other = tmp_path / ("other.pt" if suffix == ".pt2" else "other.pt2")
    save(other, Network()).rename(path)
    assert "is not " in refusal(path)


def test_a_torn_program_is_refused(tmp_path):
    path = save(tmp_path / "net.pt2", Network())
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "torn.pt2", "w") as torn:
        for name in whole.namelist():
            torn.writestr(name, b"{}" if "models/" in name else whole.read(name))
    assert "cannot be loaded by torch.export" in refusal(tmp_path / "torn.pt2")


@pytest.mark.parametrize("suffix", [".pt", ".ts", ".pt2"])
def test_a_pickled_file_is_refused_and_not_unpickled(suffix, tmp_path):
    torch.save({"network": Bomb(tmp_path / "exploded")}, tmp_path / f"net{suffix}")
    assert "is not " in refusal(tmp_path / f"net{suffix}")
    assert not (tmp_path / "exploded").exists()
    torch.load(tmp_path / f"net{suffix}", weights_only=False)
    assert (tmp_path / "exploded").exists()


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert refusal(tmp_path / "net.ts").startswith("no features file ")
