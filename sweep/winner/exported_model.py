"""Takes the generator of a trained model away: as a module of PyTorch, or in a file that needs nothing of ours."""

import hashlib
from pathlib import Path
from typing import Any

from torch import nn

from gan_core.config.version import code_version
from gan_core.workshop.exported_program import Exported, Format, exported
from gan_core.workshop.one_model import ModelFolder
from gan_core.workshop.plain_generator import plain_generator
from results.output import output
from sweep.winner.sampling import new_folder, of_model


def exported_generator(folder: str | Path) -> nn.Module:
    """The best generator in the folder of a model, as a frozen module of plain PyTorch, in float32.

    Its `forward` takes noise [N, Z]; a conditional generator also labels [N] int64; that of InfoGAN codes [N] int64 and
    continuous codes [N, C] in [-1, 1], where the model has them. It returns images [N, C, H, W] in [-1, 1], or numbers
    [N, d]. The weights are those that `gan-sweep sample` draws with, which is their moving average where the training
    kept one. Raises InputError as `of_model` does.
    """
    made = of_model(Path(folder))
    return plain_generator(made.config, made.kind, made.weights).module


def export_model(folder: str | Path, to: Path, form: Format) -> Exported:
    """Writes the generator of a model in a format: a file, or for "safetensors+py" a new folder with two.

    It appears whole or not at all, and only after its samples were compared with ours. Raises InputError as
    `exported_generator` and `gan_core.workshop.exported_program.exported` do, and ResultsError as `output` does.
    """
    made = of_model(Path(folder))
    plain = plain_generator(made.config, made.kind, made.weights)
    found = exported(plain, made.weights, form, _metadata(ModelFolder(folder), made.config.flatten()))
    if set(found.files) == {""}:
        with output(to) as file:
            file.write(found.files[""])
    else:
        with new_folder(to) as partial:
            for name, content in found.files.items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                (partial / name).write_bytes(content)
    return found


def _metadata(folder: ModelFolder, configuration: dict[str, Any]) -> dict[str, Any]:
    """Where a generator comes from."""
    digest = hashlib.sha256(folder.generator.read_bytes()).hexdigest()
    return {"made_by": f"gan-sweep {code_version()}", "configuration": configuration, "generator_sha256": digest}
