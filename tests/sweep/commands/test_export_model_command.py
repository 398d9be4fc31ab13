"""`gan-sweep export-model`: what it writes and says, and that it is loaded with nothing of ours."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_generators import model_folder

from gan_core.config.input_error import InputError
from gan_core.lanes.streams import Stream
from gan_core.networks.architectures import build_networks
from gan_core.networks.latents import shared_latents
from sweep.winner.exported_model import exported_generator
from sweep.winner.sampling import of_model

PAGE = (Path(__file__).parents[3] / "docs" / "commands.md").read_text()
OURS = ("gan_core", "search_spaces", "sweep", "results")
ALONE = """
import sys
sys.path[:] = [place for place in sys.path if place and ("site-packages" in place or not place.startswith({root!r}))]
sys.path.insert(0, "")
{code}
assert not {{name.partition(".")[0] for name in sys.modules}} & {ours!r}
"""


def run_alone(code: str) -> str:
    """Runs Python in a process of its own that sees no package of ours, and returns what it printed."""
    text = ALONE.format(code=code, root=str(Path(__file__).parents[3]), ours=set(OURS))
    done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def documented(name: str) -> str:
    """The block of the section on loading that reads a file of this name."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.partition("## Load it")[2], re.DOTALL | re.MULTILINE)
    (found,) = [block for block in blocks if name in block]
    return found


PUBLISHED = {"structure.latent_size": 100, "structure.latent_distribution": "normal"}
AS_SAID = "\nassert images.shape == (16, 1, 28, 28) and abs(images).max() <= 1\n"
DRAWN = r"(numbers \(16, 2\)|images \(16, 1, 8, 8\)), from -\d.* to \d.*"


def test_what_is_written_is_loaded_as_documented_with_nothing_of_ours(gan_sweep):
    model_folder(Path("models/best"), "mlp", **PUBLISHED)
    code = ""
    for output, reads in (("generator.pt2", '"generator.pt2"'), ("generator/", "from generator.generator")):
        answer = gan_sweep("export-model", "models/best", "-o", output)
        assert (answer.code, answer.err) == (0, "")
        difference, written = answer.out.splitlines()
        said = re.fullmatch(r"largest difference from our samples .*: (\S+) \(at most 1e-05 is allowed\)", difference)
        assert said is not None
        assert float(said[1]) < 3e-6
        assert written == f"written to {output}"
        code += documented(reads) + AS_SAID
    names = ("gaussian", "cgan", "infogan")
    for name in names:
        model_folder(Path("models", name), name)
        assert gan_sweep("export-model", f"models/{name}", "--format", "safetensors+py", "-o", name).code == 0
        assert sorted(path.name for path in Path(name).iterdir()) == ["generator.py", "generator.safetensors"]
        code += f"import runpy\nrunpy.run_path('{name}/generator.py', run_name='__main__')\n"
    drawn = run_alone(code).splitlines()
    assert len(drawn) == len(names)
    assert all(re.fullmatch(DRAWN, line) for line in drawn)


@pytest.mark.slow
def test_onnx_is_loaded_as_documented_without_torch(gan_sweep):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model_folder(Path("models/best"), "mlp", **PUBLISHED)
    answer = gan_sweep("export-model", "models/best", "-o", "generator.onnx")
    assert (answer.code, answer.err) == (0, "")
    run_alone(documented('"generator.onnx"') + AS_SAID + "import sys\nassert 'torch' not in sys.modules")


def test_the_module_holds_the_weights_that_samples_are_drawn_with(tmp_path):
    folder = model_folder(tmp_path / "best", "mlp_bn")
    made, module = of_model(folder), exported_generator(folder)
    structure = made.config.structure
    networks = build_networks(structure, made.kind.shape, made.kind.classes)
    (latents,) = shared_latents(8, 8, structure, networks, Stream.SAMPLE_LATENTS, 5)
    np.testing.assert_allclose(module(latents[0]).numpy(), next(made.parts(8, 5)), rtol=0, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_a_model_that_trained_in_bfloat16_is_compared_in_float32(gan_sweep):
    folder = model_folder(Path("best"), "mlp")
    with (folder / "config.yaml").open("a") as file:
        file.write("precision: bfloat16\n")
    assert gan_sweep("export-model", "best", "-o", "x/").code == 0


def test_a_file_knows_its_model(gan_sweep):
    folder = model_folder(Path("best"), "dcgan")
    assert gan_sweep("export-model", "best", "-o", "new/x.pt2").code == 0
    extra = {"gan_sweep.json": ""}
    torch.export.load("new/x.pt2", extra_files=extra)
    assert hashlib.sha256((folder / "generator.safetensors").read_bytes()).hexdigest() in extra["gan_sweep.json"]
    assert '"structure.architecture": "dcgan"' in extra["gan_sweep.json"]
    assert [path.name for path in Path("new").iterdir()] == ["x.pt2"]


def test_torchscript_is_written_with_a_word_on_its_future(gan_sweep):
    model_folder(Path("best"), "mlp")
    answer = gan_sweep("export-model", "best", "--format", "torchscript")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[1:] == [
        "PyTorch deprecates TorchScript; a .pt2 file does the same",
        "written to generator.pt",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["best", "-o", "x.h5"], "must end in .pt2, .onnx, .pt or .ts (TorchScript) or / (a folder"),
        (["best", "-o", "x"], "must end in .pt2"),
        (["best", "-o", "-"], "must end in .pt2"),
        (["best", "-o", "-", "--format", "safetensors+py"], "give -o generator/"),
        (["best", "--format", "keras"], "invalid choice: 'keras'"),
        (["none"], "none holds no model; give a folder made by `gan-sweep train`"),
        (["started"], "holds no generator yet: its training stopped before the first evaluation"),
        (["trained"], "trained holds the state of your own training, and no generator of a GAN; its trainer.pt is"),
        (["damaged"], "cannot read the tensors in damaged/generator.safetensors"),
        (["best", "-o", "best/"], "best holds other files; give a new folder"),
        (["best", "-o", "best/config.yaml/x.pt2"], "cannot write best/config.yaml/x.pt2"),
        (["best", "-o", "best/config.yaml/x/"], "cannot write best/config.yaml/x"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_writes_nothing(gan_sweep, arguments, says):
    for name in ("best", "started", "damaged"):
        model_folder(Path(name), "mlp_minimax")
    Path("started/generator.safetensors").unlink()
    Path("trained").mkdir()
    Path("trained/config.yaml").write_text('configuration: {structure.trainer: "my_train.py:Trainer#0123456789ab"}\n')
    weights = Path("damaged/generator.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    before = sorted(Path().rglob("*"))
    answer = gan_sweep("export-model", *arguments)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert says in answer.err
    assert sorted(Path().rglob("*")) == before


def test_a_file_that_is_there_is_replaced_whole(gan_sweep):
    model_folder(Path("best"), "mlp_minimax")
    Path("generator.pt2").write_text("old")
    assert gan_sweep("export-model", "best").code == 0
    torch.export.load("generator.pt2")
    with pytest.raises(InputError, match="holds no model"):
        exported_generator("generator.pt2")
