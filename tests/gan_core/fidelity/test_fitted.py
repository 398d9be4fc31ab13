"""What scores were fitted with goes to another process, which then scores in exactly the same way."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan_core.config.conditions import Conditions, ScoringConfig, with_weights
from gan_core.config.input_error import InputError
from gan_core.data.dataset import Dataset, load_dataset
from gan_core.fidelity.features.extractors import load_extractor
from gan_core.fidelity.fitted import Fitted, protocol_in
from gan_core.fidelity.scorers import ImageScorer, build_scorer
from gan_core.workshop.workshop import Workshop

SCORING = ScoringConfig(samples=60)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def fitted(digits) -> Fitted:
    """As another processor would have fitted it: the weights of its classifier differ a little."""
    made = Fitted(data_digest=digits.digest)
    build_scorer(digits, SCORING, made)
    tensors = {name: tensor.clone() for name, tensor in made.tensors.items()}
    tensors["classifier/trunk.5.bias"] += 1e-4
    other = Fitted(tensors, digits.digest)
    build_scorer(digits, SCORING, other)
    assert other.protocol != made.protocol
    return other


def test_a_scorer_uses_what_was_fitted_elsewhere_and_fits_and_examines_nothing(digits, fitted, tmp_path, monkeypatch):
    fitted.write(tmp_path / "file")
    read = Fitted.read(tmp_path / "file")
    assert read is not None
    assert (read.kind, read.examination, read.data_digest) == (fitted.kind, fitted.examination, digits.digest)
    for name in ("classifier._kept_or_trained", "classifier.train_classifier", "principal_components._fit"):
        monkeypatch.setattr(f"gan_core.fidelity.features.{name}", None)
    monkeypatch.setattr("gan_core.fidelity.scorers.examine", None)
    scorer = build_scorer(digits, SCORING, read)
    assert isinstance(scorer, ImageScorer)
    assert scorer.protocol == fitted.protocol == protocol_in(tmp_path / "file")
    assert scorer.examination == fitted.examination
    assert torch.equal(
        scorer.extractor(digits.held_out[:9])[0], load_extractor(digits, fitted=fitted)(digits.held_out[:9])[0]
    )


@pytest.mark.parametrize("kind", ["pca", "pixels", "classifier+pixels"])
def test_every_kind_of_features_is_the_same_bit_for_bit_elsewhere(digits, tmp_path, monkeypatch, kind):
    made = Fitted(data_digest=digits.digest)
    one = load_extractor(digits, kind, fitted=made)
    made.write(tmp_path / "file")
    for part in (
        "classifier._kept_or_trained",
        "principal_components._fit",
        "textures._fit",
        "joined_features._scaled",
    ):
        monkeypatch.setattr(f"gan_core.fidelity.features.{part}", None)
    other = load_extractor(digits, kind, fitted=Fitted.read(tmp_path / "file"))
    assert (other.name, other.weights, other.features) == (one.name, one.weights, one.features)
    assert torch.equal(other(digits.held_out)[0], one(digits.held_out)[0])


def test_the_protocol_names_the_weights_so_that_those_of_another_machine_are_not_compared(digits, fitted):
    here, there = (build_scorer(digits, SCORING, given) for given in (None, fitted))
    assert isinstance(here, ImageScorer)
    assert here.features_digest != there.features_digest
    for scorer in (here, there):
        assert scorer.protocol.split("/")[1] == f"{here.extractor.name}@{scorer.features_digest}"
    assert here.protocol.replace(here.features_digest, there.features_digest) == there.protocol


def test_rows_of_earlier_versions_get_the_weights_that_they_name_elsewhere():
    new = with_weights("fid/pca64-ab+classifier64-cd/digits-ef/2000@latents42/kl0.1", "0123456789ab")
    assert new == "fid/pca64-ab+classifier64-cd@0123456789ab/digits-ef/2000@latents42/kl0.1"
    assert with_weights(new, "0123456789ab") == new
    for other in ("", "fid/pca64-ab/digits", "wasserstein/exact-quantiles/gaussian"):
        assert with_weights(other, "") == other
    assert with_weights("wasserstein/exact", "0123456789ab") == "wasserstein/exact"


def test_what_was_fitted_to_other_data_is_refused(digits, fitted):
    conditions = Conditions(dataset="digits", scoring=SCORING)
    with pytest.raises(InputError, match=f"'digits' here has digest {digits.digest}, and the scores are of feed"):
        Workshop(conditions, "cpu", dataset=digits, fitted=replace(fitted, data_digest="feed"))
    assert Workshop(conditions, "cpu", dataset=digits, fitted=fitted).scorer.protocol == fitted.protocol


def test_a_data_set_of_numbers_has_nothing_fitted():
    assert Workshop(Conditions(dataset="gaussian"), "cpu").fitted is None


def test_a_file_that_is_missing_damaged_or_something_else_is_none(fitted, tmp_path):
    path: Path = tmp_path / "file"
    assert (Fitted.read(path), protocol_in(path)) == (None, None)
    fitted.write(path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert (Fitted.read(path), protocol_in(path)) == (None, None)
    path.write_text("something else")
    assert (Fitted.read(path), protocol_in(path)) == (None, None)


def test_the_same_is_written_as_the_same_bytes(fitted, tmp_path):
    for name in "ab":
        fitted.write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
