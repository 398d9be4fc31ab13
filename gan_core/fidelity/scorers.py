"""The scorer of images, and the choice of a scorer for a data set. L lanes, M samples, K classes, S strata."""

import math
from dataclasses import asdict, replace

import torch
from torch import Tensor

from gan_core.config.conditions import ScoringConfig, with_weights
from gan_core.config.input_error import home_path
from gan_core.config.reports import FidelityReport
from gan_core.data.dataset import Dataset
from gan_core.data.enough_images import NEIGHBOURS, check_held_out
from gan_core.fidelity.copying import data_copying, data_copying_error, nearest_distance
from gan_core.fidelity.distances import (
    class_accuracy,
    class_divergence,
    code_agreement,
    frechet_distance,
    frechet_floor,
    limit_violations,
    moments,
    point_mass_distance,
)
from gan_core.fidelity.examination import Examination
from gan_core.fidelity.examine import examine
from gan_core.fidelity.features.extractors import extract_lanes, load_extractor
from gan_core.fidelity.features.feature_extractor import FeatureExtractor
from gan_core.fidelity.features.textures import SMALLEST_PIXELS
from gan_core.fidelity.fitted import Fitted
from gan_core.fidelity.image_reference import compared_with, image_reference
from gan_core.fidelity.neighbours import coverage_null, pair_scores
from gan_core.fidelity.pairs import read_in_c
from gan_core.fidelity.protocol import (
    LATENT_SEED,
    Scorer,
    Scores,
    check_samples,
    chosen,
    drawn_samples,
    limits,
    reference_part,
    reports,
)
from gan_core.fidelity.standard_errors import class_divergence_error, frechet_error, violation_error
from gan_core.fidelity.triangles import recall_ceiling, triangle_reference, triangle_scores
from gan_core.fidelity.value_scorers import PlaneScorer, ValueScorer, on_host
from gan_core.lanes.precision import library_precision
from gan_core.lanes.streams import Stream
from gan_core.networks.latents import shared_choices
from gan_core.training.lane_array import LaneArray

IMAGE_SAMPLES = 2_000
COPY_SAMPLES = 250  # searched for in the whole training split, a sixth of the cost of scoring; the error is 0.02
EXAMINED_IMAGES = IMAGE_SAMPLES  # for each kind of damage
EXAMINED_OF_MANY_FEATURES = 500  # the same for an extractor with more than MANY_FEATURES
MANY_FEATURES = 512  # such an extractor, Inception for example, takes seconds for a thousand images
COVERED_SHARE = 0.1  # a class with a smaller share of the samples, as a fraction of its real share, counts as missing


class ImageScorer:
    """Scores images in a feature space against real ones. Scores come with their noise floor or standard error.

    `fidelity`, which a sweep minimises, is `fid` minus `fid_floor`. `violation` is by how much the class shares and the
    coverage break their limits, as `limit_violations` has it, with `violation_error`. `kid` has `kid_error`;
    `precision` and `recall` have `_real`, the values of fresh real images; `coverage` has `coverage_floor`, its
    expectation for real images; `density` has neither. `memorisation` is the probability that a sample is nearer to the
    training split than a held-out image is, 1/2 without copying, with `memorisation_error`. Labelled data add
    `class_kl` in nats and `classes_covered`, conditional models `class_accuracy`, overall and by class, categorical
    codes `code_agreement`, and triangles their own precision, recall and distance. The errors due to the choice of
    latents (`gan_core.fidelity.standard_errors`) are `fidelity_error`, `fid_error`, `kid_latent_error`,
    `class_kl_error` and `triangle_distance_error`.
    """

    def __init__(
        self, dataset: Dataset, scoring: ScoringConfig, extractor: FeatureExtractor, cheap: FeatureExtractor
    ) -> None:
        """extractor: gives the features that are compared. cheap: the extractor `auto` of the data set, which gives the
        features in which copies are searched for and, for labelled data, the class probabilities.
        """
        self.scoring, self.dataset, self.extractor, self._cheap = scoring, dataset, extractor, cheap
        self.samples = scoring.samples or IMAGE_SAMPLES
        self.data_digest = dataset.digest
        names = "+".join(dict.fromkeys((extractor.name, cheap.name)))
        images, labels = compared_with(dataset)
        reference = reference_part(dataset, len(images))
        self.features_digest = extractor.weights or cheap.weights
        self.protocol = with_weights(
            "/".join(("fid", names, reference, drawn_samples(self.samples), limits(scoring))), self.features_digest
        )
        self._check_counts()
        self._reference = image_reference(dataset, extractor, cheap, self.samples)
        self._scale = point_mass_distance(self._reference.covariance)
        if labels is not None:
            self._shares = torch.bincount(labels, minlength=dataset.classes).double() / len(labels)
            labels = chosen(labels, self.samples, 1)
            self.asked = labels[torch.arange(self.samples) % len(labels)]  # with the class shares of the real images
        self.examination: Examination | None = None
        self._in_c: bool | None = None
        self._triangles = None
        if dataset.name == "polygons":
            self._triangles = triangle_reference(chosen(images, self.samples, 1))
        self._references = min(self.samples, len(images))
        self.constants = self._constants(len(images))

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults that the examination of the extractor found."""
        return self.examination.faults if self.examination else ()

    @property
    def in_c(self) -> bool:
        """Whether pairs of features are read in C. Asked once, because a compiler that fails takes long to do so."""
        if self._in_c is None:
            self._in_c = read_in_c(self._reference.neighbours.features, NEIGHBOURS)
        return self._in_c

    def _check_counts(self) -> None:
        """Raises InputError if there are too few samples or held-out images for nearest neighbours."""
        check_samples(self.samples, NEIGHBOURS + 1)
        check_held_out(self.dataset.name, len(self.dataset.held_out))

    def _constants(self, compared: int) -> dict[str, float]:
        """The noise floors, and other values that are the same for all lanes; compared: the number of real images."""
        copied, held_out = min(COPY_SAMPLES, self.samples), min(self.samples, len(self.dataset.held_out))
        constants = {
            "fid_floor": frechet_floor(self._reference.covariance, self.samples, compared),
            "coverage_floor": coverage_null(self.samples, self._references),
            "precision_real": self._reference.precision_real,
            "recall_real": self._reference.recall_real,
            "memorisation_error": data_copying_error(copied, held_out),
        }
        if self._cheap.classifies:
            constants["class_kl_floor"] = (self.dataset.classes - 1) / (2 * self.samples)
            constants["classes"] = float(self.dataset.classes)
        if self._triangles is not None:
            constants["triangle_recall_floor"] = recall_ceiling(self.samples, self._references)
        return constants

    def score(self, array: LaneArray) -> list[FidelityReport]:
        asked = self.asked if array.networks.conditional else None
        images = array.generate(array.shared_latents(Stream.SCORE_LATENTS, self.samples, LATENT_SEED, asked))
        scores, predicted = self.compare(images, self._strata(array).to(images.device))
        if predicted is not None:
            scores |= self._asked_scores(predicted, scores["fid"], array)
        if self._triangles is not None:
            found = asdict(triangle_scores(images, self._triangles))
            scores |= {f"triangle_{name}": column for name, column in found.items()}
        return reports(on_host(scores), self.constants, self, array.lanes)

    def compare(self, images: Tensor, strata: Tensor) -> tuple[Scores, Tensor | None]:
        """The scores [L] of images [L, M, C, H, W] in [-1, 1], and their predicted classes [L, M] for labelled data.

        M is `samples`. strata: one-hot [M, S], on the device of the images, the classes or codes of the samples.
        """
        with library_precision("float32"):  # whatever trials are trained in
            scores, predicted = self._distances(images, strata)
        if predicted is not None:
            scores |= self._class_scores(predicted, scores["fid"], strata)
        coverage = scores["coverage"] / self.constants["coverage_floor"]
        fidelity = scores["fid"] - self.constants["fid_floor"]
        limited = limit_violations(
            fidelity,
            scores.get("class_kl"),
            coverage,
            scale=self._scale,
            class_kl_floor=self.constants.get("class_kl_floor", 0.0),
            class_kl_limit=self.scoring.class_kl_limit,
            coverage_limit=self.scoring.coverage_limit,
        )
        limited["violation_error"] = self._violation_error(scores, coverage)
        return {"fidelity": fidelity, "fidelity_error": scores["fid_error"], **limited, **scores}, predicted

    def _strata(self, array: LaneArray) -> Tensor:
        """The class or code that each sample is drawn with, one-hot [M, S]; S = 1 for models that have neither."""
        choices = array.networks.choices
        if array.networks.conditional:
            asked = self.asked
        else:
            asked = shared_choices(self.samples, choices or 1)
        return torch.nn.functional.one_hot(asked, max(choices, 1)).double()

    def _violation_error(self, scores: Scores, coverage: Tensor) -> Tensor:
        """The standard error [L] of `violation`. coverage: [L], as a fraction of that of real samples.

        The binomial standard error of the coverage is an upper bound: on trained lanes it is 1.2 to 5 times the spread
        over latents, because most balls are always covered or never.
        """
        spread = (scores["coverage"] * (1 - scores["coverage"]) / self._references).sqrt()
        above = None
        if "class_kl" in scores:
            above = scores["class_kl"] - self.constants["class_kl_floor"], scores["class_kl_error"]
        return violation_error(
            scores["fid_error"] / self._scale,
            above,
            (coverage, spread / self.constants["coverage_floor"]),
            self.scoring.class_kl_limit,
            self.scoring.coverage_limit,
        )

    def _distances(self, images: Tensor, strata: Tensor) -> tuple[Scores, Tensor | None]:
        """The scores [L] of features, and the predicted classes [L, M] for labelled data, of images [L, M, C, H, W].

        Both stay on the device of the images; nothing is copied to the host.
        """
        self.extractor = self.extractor.to(images.device)  # kept there, because moving it may be slow
        self._cheap, self._reference = self._cheap.to(images.device), self._reference.to(images.device)
        real = self._reference
        features, probabilities = extract_lanes(self.extractor, images)
        if self._cheap.name == self.extractor.name:
            near = features[:, :COPY_SAMPLES]
        elif self._cheap.classifies:
            near, probabilities = extract_lanes(self._cheap, images)
            near = near[:, :COPY_SAMPLES]
        else:
            near, probabilities = extract_lanes(self._cheap, images[:, :COPY_SAMPLES])
        mean, covariance = moments(features)
        kernel, shares = pair_scores(features, real.neighbours)
        scores = {
            "fid": frechet_distance(mean, covariance, real.mean, real.covariance, real.factor),
            "fid_error": frechet_error(features, mean, covariance, real.mean, real.factor, strata),
            "kid": kernel.value,
            "kid_error": kernel.error,
            "kid_latent_error": kernel.latent_error,
            **asdict(shares),
            "memorisation": data_copying(nearest_distance(near, real.train), real.held_out_distances),
        }
        return scores, None if probabilities is None else probabilities.argmax(2)

    def _class_scores(self, predicted: Tensor, distances: Tensor, strata: Tensor) -> Scores:
        """The scores [L] of predicted classes [L, M]; NaN for lanes whose distances [L] are NaN."""
        classes = self.dataset.classes
        self._shares = self._shares.to(predicted.device)
        counts = torch.zeros(len(predicted), classes, dtype=torch.float64, device=predicted.device)
        shares = counts.scatter_add_(1, predicted, torch.ones_like(predicted, dtype=torch.float64)) / self.samples
        scores = {
            "class_kl": class_divergence(shares, self._shares),
            "class_kl_error": class_divergence_error(predicted, self._shares, strata),
            "classes_covered": ((shares > 0) & (shares >= COVERED_SHARE * self._shares)).sum(1).double(),
        }
        return _where_finite(scores, distances)

    def _asked_scores(self, predicted: Tensor, distances: Tensor, array: LaneArray) -> Scores:
        """How well classes [L, M] agree with the requested classes or codes: each [L], NaN as in `_class_scores`."""
        classes, choices = self.dataset.classes, array.networks.choices
        scores: Scores = {}
        if array.networks.conditional:
            self.asked = self.asked.to(predicted.device)
            by_class = class_accuracy(predicted, self.asked, classes)
            scores["class_accuracy"] = (predicted == self.asked).double().mean(1)
            scores |= {f"class_accuracy_{label}": by_class[:, label] for label in range(classes)}
        elif choices:
            codes = shared_choices(self.samples, choices).to(predicted.device).expand_as(predicted)
            scores["code_agreement"] = code_agreement(codes, predicted, max(choices, classes))
        return _where_finite(scores, distances)


def _where_finite(scores: Scores, distances: Tensor) -> Scores:
    return {name: torch.where(distances.isnan(), math.nan, column) for name, column in scores.items()}


def build_scorer(dataset: Dataset, scoring: ScoringConfig, fitted: Fitted | None = None) -> Scorer:
    """Builds the scorer of a data set; for images it trains or loads a feature extractor and examines it.

    The scorer uses the first extractor of `kinds_in_turn` that passes its examination, or else the one with the fewest
    faults, and its `examination` tells what was missed. fitted: what was fitted to the data set before, and which kind
    was chosen; both are used as they are. What is fitted and chosen now is added to it.

    Raises InputError for features that are not available.
    """
    if dataset.truth is not None:
        kind = ValueScorer if dataset.sample_shape == (1,) else PlaneScorer
        return kind(dataset, scoring, dataset.truth)
    fitted = Fitted(data_digest=dataset.digest) if fitted is None else fitted
    cheap = load_extractor(dataset, fitted=fitted)
    kinds = kinds_in_turn(dataset, scoring)
    if fitted.kind in kinds:
        return _examined_scorer(dataset, scoring, fitted.kind, cheap, fitted)
    tried: dict[str, ImageScorer] = {}
    for kind in kinds:
        tried[kind] = _examined_scorer(dataset, scoring, kind, cheap, fitted)
        if not tried[kind].faults:
            break
    fitted.kind = kind = min(tried, key=lambda kind: len(tried[kind].faults))
    fitted.examination, fitted.protocol = tried[kind].examination, tried[kind].protocol
    return tried[kind]


def kinds_in_turn(dataset: Dataset, scoring: ScoringConfig) -> tuple[str, ...]:
    """The features to be examined in turn until some pass: for `auto` several, the smallest first, else one."""
    if scoring.features != "auto" or scoring.inception_weights:
        return (scoring.features,)
    own = ("pca",) if dataset.train_labels is None else ("classifier", "classifier+pixels")
    return own if min(dataset.sample_shape[1:]) < SMALLEST_PIXELS else (*own, "pixels")


def _examined_scorer(
    dataset: Dataset, scoring: ScoringConfig, kind: str, cheap: FeatureExtractor, fitted: Fitted
) -> ImageScorer:
    weights = home_path(scoring.inception_weights) if scoring.inception_weights else None
    same = kind == ("classifier" if cheap.classifies else "pca") and weights is None
    extractor = cheap if same else load_extractor(dataset, kind, weights, fitted)
    scorer = ImageScorer(dataset, scoring, extractor, cheap)
    if kind == fitted.kind and fitted.examination is not None:
        scorer.examination = fitted.examination
        return scorer
    samples = EXAMINED_IMAGES if extractor.features <= MANY_FEATURES else EXAMINED_OF_MANY_FEATURES
    same = scorer.samples == samples  # otherwise the choice of features would depend on the number of samples
    looked_at = scorer if same else ImageScorer(dataset, replace(scoring, samples=samples), extractor, cheap)
    scorer.examination = examine(looked_at, kind)
    return scorer
