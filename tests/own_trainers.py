"""A person's own training, small: gradient descent with noise on a quadratic, whose minimum is 0."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_core.config.arguments import Arguments
from gan_core.config.conditions import Conditions
from gan_core.config.gan import GanConfig
from gan_core.config.structure import StructureConfig
from gan_core.files.own_code import code_of, pinned
from gan_core.workshop.trainer_array import TrainerWorkshop

QUADRATIC = """
import torch


class Trainer:
    def __init__(self, config, device):
        self.rate, self.seen = config["rate"], 0
        self.x = torch.randn(2, dtype=torch.float64)

    def train_to(self, images):
        while self.seen < images:
            self.x = self.x - self.rate * (self.x + 0.01 * torch.randn(2, dtype=torch.float64))
            self.seen += 10
        return {"score": self.x.square().sum(), "loss": float(self.x.abs().sum()), "d_loss": 1.5}

    def state_dict(self):
        return {"x": self.x, "seen": self.seen}

    def load_state_dict(self, state):
        self.x, self.seen = state["x"], state["seen"]

    def sample(self, count):
        return torch.rand(count, 1, 4, 4) * 2 - 1
"""
SPACE: Mapping[str, Any] = {"ranges": {"trainer.rate": {"low": 1e-3, "high": 0.5, "log": True}}}


def edited(*edits: tuple[str, str]) -> str:
    """The text of the training with some of it replaced."""
    text = QUADRATIC
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


def written(folder: Path, text: str = QUADRATIC) -> Path:
    """The file of the training in a folder."""
    path = folder / "quad.py"
    path.write_text(text)
    return path


def spec_values(folder: Path, text: str = QUADRATIC, **values: Any) -> dict[str, Any]:
    """A spec over the training, as in YAML: 5 trials, rungs at 100 and 300 examples, unless `values` say else."""
    ladder = {"rungs_images": [100, 300], "keep_fraction": 0.5}
    train = f"{written(folder, text)}:Trainer"
    return {"name": "quad", "train": train, "space": SPACE, "trials": 5, "ladder": ladder, "tracking": {}, **values}


def workshop(folder: Path, text: str = QUADRATIC, objective: str = "score") -> TrainerWorkshop:
    """What builds arrays of the training."""
    trainer = pinned("train", f"{written(folder, text)}:Trainer", None)
    conditions = Conditions(dataset="digits", objective=objective, trainer=trainer, code=code_of([trainer]))
    return TrainerWorkshop(conditions, "cpu")


def config(made: TrainerWorkshop, seed: int, **hyperparameters: Any) -> GanConfig:
    """A configuration of the training."""
    structure = StructureConfig(trainer=made.conditions.trainer)
    return GanConfig(structure=structure, trainer=Arguments.of({"rate": 0.1, **hyperparameters}), seed=seed)
