"""An exported file with a schedule: it is read, trained, resumed and sampled from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.reports import OutOfMemory
from gan_core.config.schedule import Schedule
from gan_core.lanes.axis import lane_arithmetic
from gan_core.workshop.one_model import ModelFolder, best_row
from gan_core.workshop.workshop import Workshop
from results.export import ExportedConfiguration
from results.store import ResultsError
from sweep.winner.final_training import conditions_of, train_final
from sweep.winner.sampling import of_model, write_numbers

SMALL: dict[str, Any] = {
    "structure.architecture": "mlp_bn",
    "structure.dataset": "digits",
    "structure.generator_width": 7,
    "structure.discriminator_width": 7,
    "structure.latent_size": 5,
    "structure.batch_size": 13,
    "lane.generator_lr": 0.005,
    "lane.batch_norm_eps": 0.8,
}
CHANGES = [{"from_images": 416, "lane.batch_norm_eps": 1e-3}]
VALUES: dict[str, Any] = {
    "configuration": SMALL,
    "training": {"images": 1664, "evaluate_at_images": [416, 1664]},
    "scoring": {"samples": 50, "features": "pca"},
    "schedule": CHANGES,
}


def written(path: Path, **changed: Any) -> ExportedConfiguration:
    path.write_text(yaml.safe_dump({**VALUES, **changed}))
    return ExportedConfiguration.read(path)


def train(exported: ExportedConfiguration, home: Path) -> int:
    config = GanConfig.unflatten(exported.configuration)
    return train_final(config, exported, home, exported.images, conditions_of(config, exported, None, False))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("schedule")
    assert train(written(home / "best.yaml"), home / "model") == 0
    return home / "model"


def test_a_model_with_a_schedule_is_sampled_as_it_was_scored(model, tmp_path):
    """The best generator is from after the change, with another batch norm than that of the file's first parameters."""
    exported = ExportedConfiguration.read(model.parent / "best.yaml")
    schedule = Schedule.read(GanConfig.unflatten(SMALL), exported.schedule)
    assert best_row(ModelFolder(model), "fidelity")["images_seen"] > 416
    write_numbers(of_model(model), 9, 2, tmp_path / "drawn.npy")
    with lane_arithmetic():
        array = Workshop(conditions_of(schedule.config, exported, None, False), "cpu").build([schedule.config])
        array.train_to(416)
        array.take_over([0], [schedule.at(416)])
        array.train_to(int(best_row(ModelFolder(model), "fidelity")["images_seen"]))
        expected = array.array.sample(9, seed=2)[0].numpy()
    np.testing.assert_array_equal(np.load(tmp_path / "drawn.npy"), expected)


def test_a_models_file_says_its_schedule_and_trains_again(model, tmp_path):
    again = ExportedConfiguration.read(model / "config.yaml")
    assert again.schedule == tuple(CHANGES)
    assert train(again, tmp_path / "again") == 0
    assert (tmp_path / "again/generator.safetensors").read_bytes() == (model / "generator.safetensors").read_bytes()


@pytest.mark.parametrize("schedule", [[], [{"from_images": 416, "lane.batch_norm_eps": 1e-2}]])
def test_a_model_is_gone_on_with_by_its_own_schedule_alone(model, tmp_path, schedule):
    with pytest.raises(InputError, match="these differ: schedule; choose another -o"):
        train(written(tmp_path / "other.yaml", schedule=schedule), model)
    assert train(ExportedConfiguration.read(model.parent / "best.yaml"), model) == 0


@pytest.mark.parametrize("schedule", [3, {"from_images": 0}, [3], ["from_images"]], ids=str)
def test_a_schedule_that_is_no_list_of_mappings_is_refused(tmp_path, schedule):
    with pytest.raises(ResultsError, match=r"schedule in .* must list mappings of from_images and lane\.\*, got"):
        written(tmp_path / "best.yaml", schedule=schedule)


def test_a_file_without_a_schedule_has_none(tmp_path):
    assert written(tmp_path / "best.yaml", schedule=None).schedule == ()


def test_a_model_that_does_not_fit_the_memory_is_refused_with_what_to_lower(tmp_path, monkeypatch):
    def fails(*given: object, **named: object) -> None:
        raise OutOfMemory("one lane does not fit the memory: 8 bytes more could not be allocated")

    monkeypatch.setattr("sweep.winner.final_training.train_model", fails)
    with pytest.raises(InputError, match="could not be allocated; lower structure.batch_size or the widths$"):
        train(written(tmp_path / "best.yaml"), tmp_path / "model")
