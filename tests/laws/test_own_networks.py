"""A sweep of a person's own networks, from two classes in a file to samples that need nothing of ours."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from gan_core.config.input_error import InputError
from gan_core.lanes.streams import Stream
from gan_core.networks.architectures import build_networks
from gan_core.networks.latents import shared_latents
from results.store import RunFolder
from results.table import ResultsTable
from search_spaces.space import SearchSpace
from sweep.proposals.warm_start import best_points
from sweep.run import check_run
from sweep.spec.sweep_spec import SweepSpec
from sweep.winner.sampling import of_model

MODULE = """
    import math
    import torch.nn as nn
    from layers import dense


    class Generator(nn.Module):
        def __init__(self, width: int = 8, latent_size: int = 100, image_shape=(1, 28, 28)):
            super().__init__()
            self.image_shape = image_shape
            self.net = nn.Sequential(*dense(latent_size, width), nn.Linear(width, math.prod(image_shape)), nn.Tanh())

        def forward(self, z):
            {check}return self.net(z).view(-1, *self.image_shape)


    class Discriminator(nn.Module):
        def __init__(self, width: int = 8, image_shape=(1, 28, 28)):
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(image_shape), width), nn.LeakyReLU(0.2),
                                     nn.Dropout(0.1), nn.Linear(width, 1), nn.Sigmoid())

        def forward(self, x):
            return self.net(x)
"""
LAYERS = """
    import torch.nn as nn


    def dense(inputs, outputs):
        return nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs, 0.8), nn.LeakyReLU(0.2, inplace=True)
"""
SPEC = {
    "trials": 3,
    "lanes_per_cohort": 3,
    "execution": "replayed",
    "ladder": {"rungs_images": [320, 640], "keep_fraction": 0.5},
    "scoring": {"samples": 200, "features": "pixels"},
    "space": {
        "base": {"structure.networks": "my_gan.py", "structure.dataset": "digits", "structure.latent_size": 4},
        "ranges": {
            "generator.width": {"choices": [8, 12]},
            "lane.generator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        },
    },
}
# Where nothing of ours is loaded, and another module has the name of one of theirs.
ELSEWHERE = """
import runpy
import sys
from types import ModuleType
import numpy as np
import torch
sys.modules["layers"] = ModuleType("layers")
from taken.generator import load
np.save("theirs.npy", load()(torch.from_numpy(np.load("latents.npy"))).numpy())
runpy.run_path("taken/generator.py", run_name="__main__")
assert not {name.partition(".")[0] for name in sys.modules} & {"gan_core", "search_spaces", "sweep", "results"}
"""
WRONG = "if self.net[3].in_features == 12: raise ValueError('too wide')\n            "


def written(folder: Path, check: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "my_gan.py").write_text(textwrap.dedent(MODULE).replace("{check}", check.replace("    " * 3, "    " * 2)))
    (folder / "layers.py").write_text(textwrap.dedent(LAYERS))
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    return folder / "spec.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory, _isolation) -> Path:
    """A finished sweep, whose files are not where they were any more."""
    from sweep.commands.cli import main

    folder = tmp_path_factory.mktemp("own")
    spec = written(folder / "mine")
    assert main(["run", str(spec), "--local", "--quiet", "--out", str(folder / "run")]) == 0
    (folder / "mine").rename(folder / "moved")
    return folder / "run"


def test_the_table_has_the_arguments_and_says_how_lanes_were_carried(run):
    table = ResultsTable.load(run)
    assert {"generator.width", "lane.generator_lr"} <= set(table.differing)
    assert set(table.frame["generator.width"]) <= {8, 12}
    assert all("looped" in device for device in table.frame["device"])
    assert (table.frame["structure.networks"].str.match(r"my_gan\.py#[0-9a-f]{12}$")).all()
    text = yaml.safe_load((run / "spec.yaml").read_text())["code"]
    ((_, code),) = text.items()
    assert list(code["files"]) == ["my_gan.py", "layers.py"]


def test_the_winner_is_verified_trained_drawn_from_and_taken_away(run, gan_sweep, tmp_path):
    best, model = tmp_path / "best.yaml", tmp_path / "model"
    assert gan_sweep("export", run, "-o", best).code == 0
    verified = gan_sweep("verify", best)
    assert (verified.code, "reproduced exactly" in verified.out) == (0, True)
    assert gan_sweep("train", best, "-o", model, "--images", "640").code == 0
    assert gan_sweep("sample", model, "-n", "4", "-o", tmp_path / "four.npy").code == 0
    taken = gan_sweep("export-model", model, "-o", f"{tmp_path / 'taken'}/")
    assert (taken.code, taken.err) == (0, "")
    names = {path.name for path in (tmp_path / "taken").iterdir()}
    assert names == {"my_gan.py", "layers.py", "generator.py", "generator.safetensors"}
    state = load_file(tmp_path / "taken" / "generator.safetensors")
    assert {"net.0.weight", "net.1.running_mean", "net.1.num_batches_tracked"} <= set(state)
    drawn = of_model(model)
    networks = build_networks(drawn.config.structure, drawn.kind.shape, drawn.kind.classes)
    (latents,) = next(shared_latents(4, 4, drawn.config.structure, networks, Stream.SAMPLE_LATENTS, 0))
    np.save(tmp_path / "latents.npy", latents.numpy())
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("images (16, 1, 8, 8), from -"), done.stderr
    theirs, ours = (np.load(tmp_path / f"{name}.npy") for name in ("theirs", "four"))
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6)
    assert ours.std(0).max() > 0.01


def test_a_changed_file_is_named_when_a_run_goes_on(run, gan_sweep, tmp_path):
    spec = written(tmp_path / "mine")
    assert gan_sweep("run", spec, "--local", "--out", run).code == 0
    with (tmp_path / "mine" / "layers.py").open("a") as file:
        file.write("# a change\n")
    said = gan_sweep("run", spec, "--local", "--out", run)
    assert said.code == 2
    assert "space.base.structure.networks (my_gan.py has changed)" in said.err


def test_a_warm_start_takes_what_the_networks_have_now_and_leaves_out_the_rest(run, tmp_path):
    spec = written(tmp_path / "mine")
    with (tmp_path / "mine" / "layers.py").open("a") as file:
        file.write("# a change\n")
    space = SweepSpec.from_yaml(spec).space
    points = best_points(run, space)
    assert {name for point in points for name in point} <= {"generator.width", "lane.generator_lr"}
    assert len(points) == len(ResultsTable.load(run).contenders)
    (tmp_path / "mine" / "my_gan.py").write_text(
        textwrap.dedent(MODULE).replace("width", "units").replace("{check}", "")
    )
    renamed = SearchSpace.load({"base": SPEC["space"]["base"]}, tmp_path / "mine")
    with pytest.raises(
        InputError, match=r"no trial of .* lies in space 'inline': space 'inline' has no generator\.width"
    ):
        best_points(run, renamed)


def test_networks_that_cannot_be_used_are_named_before_anything_begins(gan_sweep, tmp_path):
    spec = written(tmp_path / "mine", WRONG)
    said = gan_sweep("run", spec, "--local", "--out", tmp_path / "run")
    assert said.code == 2
    assert "with generator.width 12: " in said.err
    assert "raise ValueError('too wide')" in said.err
    assert "own_lanes.py" not in said.err
    assert not (tmp_path / "run").exists()


def test_networks_that_are_too_large_for_this_machine_are_told_of_and_not_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))
    large = WRONG.replace("ValueError('too wide')", "MemoryError")
    spec = SweepSpec.from_yaml(written(tmp_path / "mine", large))
    with pytest.warns(UserWarning, match=r"with generator.width 12: one lane does not fit .* end as out of memory"):
        check_run(spec, RunFolder(tmp_path / "run"))


def test_a_precision_that_own_networks_do_not_have_is_refused_before_anything_begins(gan_sweep, tmp_path):
    said = gan_sweep(
        "run", written(tmp_path / "mine"), "--local", "--set", "precision=bfloat16", "--out", tmp_path / "run"
    )
    assert (said.code, (tmp_path / "run").exists()) == (2, False)
    assert "precision 'bfloat16' is not for your own networks" in said.err


def test_a_trial_whose_networks_raise_in_training_fails_alone(gan_sweep, tmp_path, monkeypatch):
    late = WRONG.replace(
        "if ", "if self.training and len(z) == 64 and "
    )  # which a first call of few rows does not meet
    spec = written(tmp_path / "mine", late)
    said = gan_sweep("run", spec, "--local", "--out", tmp_path / "run")
    assert said.code == 0
    assert "ValueError: too wide" in said.err + said.out
    table = ResultsTable.load(tmp_path / "run")
    ends = set(zip(table.trials["generator.width"], table.trials["outcome"], strict=True))
    assert {outcome for width, outcome in ends if width == 12} == {"failed"}
    assert {outcome for width, outcome in ends if width == 8} <= {"completed", "pruned"}
    assert table.trials.loc[table.trials["outcome"] == "failed", "reason"].str.contains("too wide").all()
