"""Bad input: one clear line on stderr, exit 2, and nothing left behind."""

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from made_files import PARTS, idx, pictures, write_mnist
from tiny_runs import TINY, settings

from gan_core.data.dataset import load_dataset
from results.store import JsonLines

SPEC = {"trials": 2, "ladder": {"rungs_images": [64, 128], "keep_fraction": 0.5}}
RUN_MNIST = ["run", "--local", "--set", "space=mlp", "--data-root", "data"]
TAG = "!!python/object/apply:os.system ['touch trap']"
Prepare = Callable[[Path], object]


def mnist(change: Callable[[Path], object]) -> Prepare:
    """The data set, changed."""
    return lambda here: change(write_mnist(here))


def changed(path: str, change: Callable[[Any], object]) -> Prepare:
    """A YAML file, its values changed in place."""

    def prepare(here: Path) -> None:
        values = yaml.safe_load((here / path).read_text())
        change(values)
        (here / path).write_text(yaml.safe_dump(values))

    return prepare


def file(path: str, content: str | bytes) -> Prepare:
    """A new file."""

    def prepare(here: Path) -> None:
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_bytes(content.encode() if isinstance(content, str) else content)

    return prepare


def spec(**values: Any) -> Prepare:
    """`bad.yaml`: a good spec with some values changed."""
    return file("bad.yaml", yaml.safe_dump({**SPEC, **values}))


def space(**values: Any) -> Prepare:
    """`bad.yaml`: a spec whose space is an inline one."""
    return spec(space={"extends": "digits", **values})


def ranged(name: str, **scope: Any) -> Prepare:
    """`bad.yaml`: a spec in which one range is written so."""
    return space(ranges={name: scope})


def rows(change: Callable[[list[dict]], object]) -> Prepare:
    """The run's rows, changed."""

    def prepare(here: Path) -> None:
        path = here / "run" / "rows.jsonl"
        records = JsonLines(path).read()
        change(records)
        path.unlink()
        JsonLines(path).append(records)

    return prepare


def nothing(here: Path) -> None:
    """The folder as it is: a finished run, an exported file, a model, a good spec."""


@dataclass(frozen=True)
class Case:
    """Arguments, what is done to the folder first, and what the one line must contain."""

    arguments: list[str]
    says: list[str]
    prepare: Prepare = nothing


RUN, DRY = ["run", "--local", "bad.yaml"], ["run", "--dry-run", "bad.yaml"]
TRAIN, SAMPLE = ["train", "best.yaml", "-o", "new"], ["sample", "best", "-o", "x.npy"]
AGAIN = ["run", "--local", "--out", "run", *settings(*TINY)]
OF_PICTURES = settings("structure.dataset=images:pictures", "structure.image_size_pixels=8")
LONG = "x" * 300

UNKNOWN_KEYS = {
    "spec key": Case(RUN, ["unknown key 'trails' in the spec", "did you mean 'trials'"], spec(trails=3)),
    "ladder key": Case(
        RUN, ["unknown key 'rung_images'", "did you mean 'rungs_images'"], spec(ladder={"rung_images": []})
    ),
    "scoring key": Case(
        RUN, ["unknown key 'feature' in scoring", "did you mean 'features'"], spec(scoring={"feature": "pca"})
    ),
    "health key": Case(
        ["run", "--set", "health.won_los=0.1"], ["unknown key 'won_los' in health", "did you mean 'won_loss'"]
    ),
    "exported scoring": Case(
        TRAIN,
        ["unknown key 'sample' in scoring", "did you mean 'samples'"],
        changed("best.yaml", lambda v: v["scoring"].update(sample=5)),
    ),
    "exported health": Case(
        TRAIN,
        ["unknown key 'grace' in health", "grace_images"],
        changed("best.yaml", lambda v: v["health"].update(grace=5)),
    ),
    "exported objective": Case(
        TRAIN,
        ["unknown score.objective 'fidd'", "did you mean 'fid'"],
        changed("best.yaml", lambda v: v["score"].update(objective="fidd")),
    ),
    "resources key": Case(
        RUN, ["unknown key 'gpu_per_cohort'", "'gpus_per_cohort'"], spec(resources={"gpu_per_cohort": 1})
    ),
    "space key": Case(RUN, ["unknown key 'range' in space", "did you mean 'ranges'"], space(range={})),
    "range key": Case(
        RUN, ["unknown key 'hihg'", "lane.beta1", "did you mean 'high'"], ranged("lane.beta1", low=0, hihg=1)
    ),
    "base name": Case(RUN, ["unknown hyperparameter 'lane.beta3'", "lane.beta"], space(base={"lane.beta3": 0.5})),
    "range name": Case(RUN, ["'lane.generator_rl'", "did you mean 'lane.generator_lr'"], ranged("lane.generator_rl")),
    "set key": Case(["run", "--set", "trails=3"], ["unknown key 'trails'", "did you mean 'trials'"]),
    "set part": Case(["run", "--set", "ladder.keep=1"], ["unknown key 'keep'", "keep_fraction"]),
    "set name": Case(["run", "--set", "lane.beta=0.5"], ["unknown hyperparameter 'lane.beta'", "lane.beta"]),
    "space file": Case(["spaces", "own.yaml"], ["unknown key 'bases'", "'base'"], file("own.yaml", "bases: {}")),
    "exported name": Case(
        TRAIN,
        ["'lane.beta3'", "lane.beta"],
        changed("best.yaml", lambda v: v["configuration"].update({"lane.beta3": 1})),
    ),
}
WRONG_VALUES = {
    "trials as text": Case(RUN, ["trials must be a whole number", "'many'"], spec(trials="many")),
    "no trials": Case(RUN, ["trials", "at least 1", "got 0"], spec(trials=0)),
    "no trials typed": Case(["run", "--trials", "0"], ["--trials", "at least 1", "'0'"]),
    "no trials set": Case(["run", "--set", "trials=0"], ["trials", "at least 1", "got 0"]),
    "seed below zero": Case(RUN, ["seed", "from 0", "-1"], spec(seed=-1)),
    "ladder no mapping": Case(RUN, ["ladder must map", "[1, 2]"], spec(ladder=[1, 2])),
    "rungs falling": Case(RUN, ["rungs_images must rise", "[20, 10]"], spec(ladder={"rungs_images": [20, 10]})),
    "rungs equal": Case(RUN, ["rungs_images must rise", "[20, 20]"], spec(ladder={"rungs_images": [20, 20]})),
    "rungs as text": Case(RUN, ["whole numbers", "'1k'"], spec(ladder={"rungs_images": ["1k"]})),
    "no rungs": Case(RUN, ["rungs_images", "[]"], spec(ladder={"rungs_images": []})),
    "keep too much": Case(RUN, ["keep_fraction", "at most 1", "1.5"], spec(ladder={"keep_fraction": 1.5})),
    "keep nothing": Case(RUN, ["keep_fraction", "above 0", "got 0"], spec(ladder={"keep_fraction": 0})),
    "no lanes": Case(RUN, ["lanes_per_cohort", "'auto'", "got 0"], spec(lanes_per_cohort=0)),
    "unknown sampler": Case(RUN, ["unknown sampler 'cma'", "did you mean 'cmaes'"], spec(sampler="cma")),
    "unknown objective": Case(
        RUN, ["unknown objective 'loss' on digits", "fidelity, fid, kid, class_kl"], spec(objective="loss")
    ),
    "gpus below zero": Case(RUN, ["gpus_per_cohort", "at least 0", "-1"], spec(resources={"gpus_per_cohort": -1})),
    "cpus no number": Case(RUN, ["cpus_per_cohort", "nan"], spec(resources={"cpus_per_cohort": float("nan")})),
    "samples below zero": Case(RUN, ["scoring.samples", "at least 0", "-5"], spec(scoring={"samples": -5})),
    "limit above all": Case(
        ["run", "--set", "scoring.coverage_limit=2"], ["scoring.coverage_limit", "at most 1", "got 2"]
    ),
    "health out of range": Case(RUN, ["health.won_accuracy", "at most 1"], spec(health={"won_accuracy": 1.5})),
    "health no mapping": Case(RUN, ["health must map grace_images", "'strict'"], spec(health="strict")),
    "skip as text": Case(["run", "--set", "skip_corrupt_images=maybe"], ["true or false", "'maybe'"]),
    "pair of ranges": Case(
        RUN,
        ["can combine lane.label_smoothing 0.3 with structure.loss 'hinge'", "narrow one"],
        space(
            ranges={
                "structure.loss": {"choices": ["non_saturating", "hinge"]},
                "lane.label_smoothing": {"low": 0.0, "high": 0.3},
            }
        ),
    ),
    "own features that are missing": Case(
        ["run", "--set", "scoring.features=none.pt"], ["no features file none.pt", "that is there"]
    ),
    "inception without its weights": Case(
        ["run", "--set", "scoring.features=inception", "--set", "scoring.inception_weights=none.pth"], ["none.pth"]
    ),
    "weights without inception": Case(
        ["run", "--set", "scoring.inception_weights=x.pth"], ["weights go with features 'inception'", "'auto'"]
    ),
    "name of a path": Case(["run", "--name", "a/b"], ["name", "folder's name", "'a/b'"]),
    "lane out of range": Case(["run", "--set", "lane.beta1=1.0"], ["lane.beta1", "below 1", "1.0"]),
    "lane of wrong type": Case(["run", "--set", "lane.beta1=high"], ["lane.beta1", "a number", "'high'"]),
    "structure out of range": Case(["run", "--set", "structure.batch_size=0"], ["structure.batch_size", "at least 1"]),
    "part of a whole": Case(
        ["run", "--set", "lane.discriminator_steps=1.5"], ["discriminator_steps", "a whole number"]
    ),
    "low above high": Case(RUN, ["low <= high", "low=0.9, high=0.1"], ranged("lane.beta1", low=0.9, high=0.1)),
    "log at zero": Case(RUN, ["low > 0", "low=0"], ranged("lane.generator_lr", low=0, high=1, log=True)),
    "log below zero": Case(RUN, ["lane.generator_lr", "-1"], ranged("lane.generator_lr", low=-1, high=1, log=True)),
    "half a step": Case(
        RUN, ["discriminator_steps", "0.5"], ranged("lane.discriminator_steps", low=1, high=3, step=0.5)
    ),
    "base outside": Case(
        RUN,
        ["base value 0.95 of lane.beta1", "0 .. 0.9"],
        space(base={"lane.beta1": 0.95}, ranges={"lane.beta1": {"low": 0, "high": 0.9}}),
    ),
    "seed searched": Case(RUN, ["seed cannot be searched"], ranged("seed", low=0, high=9)),
    "data set searched": Case(
        RUN, ["structure.dataset cannot be searched"], ranged("structure.dataset", choices=["digits"])
    ),
    "set without equals": Case(["run", "--set", "trials"], ["--set needs KEY=VALUE", "'trials'"]),
    "set without key": Case(["run", "--set", "=3"], ["--set needs KEY=VALUE", "'=3'"]),
    "set of a broken list": Case(["run", "--set", "trials=[1"], ["--set trials", "not plain YAML"]),
    "dry run": Case(DRY, ["trials", "at least 1"], spec(trials=0)),
    "seed too large": Case([*TRAIN, "--seed", str(2**63)], ["seed", str(2**63)]),
    "sample seed too large": Case([*SAMPLE, "--seed", str(2**70)], ["seed", str(2**70)]),
}
UNKNOWN_NAMES = {
    "space near": Case(["run", "--set", "space=digit"], ["unknown space 'digit'", "did you mean 'digits'"]),
    "space far": Case(["run", "--set", "space=cifar"], ["unknown space 'cifar'", "the nearest of 15: infogan"]),
    "space asked for": Case(["spaces", "cifar"], ["unknown space 'cifar'", "the nearest of 15: infogan"]),
    "parent": Case(RUN, ["unknown space 'cifar'", "the nearest of 15: infogan"], spec(space={"extends": "cifar"})),
    "parent of wrong type": Case(RUN, ["extends", "5"], spec(space={"extends": 5})),
    "parent of itself": Case(["spaces", "own.yaml"], ["own.yaml", "extends"], file("own.yaml", "extends: own.yaml")),
    "architecture": Case(["run", "--set", "structure.architecture=cnn"], ["one of gaussian, mlp", "'cnn'"]),
    "loss": Case(
        ["run", "--set", "structure.loss=bce"], ["non_saturating, minimax, minimax_clamped, least_squares", "'bce'"]
    ),
    "data set": Case(
        ["run", "--set", "structure.dataset=cifar"], ["unknown data set 'cifar'", "did you mean 'cifar10'"]
    ),
    "choice": Case(RUN, ["one of", "hinge", "'bce'"], ranged("structure.loss", choices=["hinge", "bce"])),
    "exported loss": Case(
        TRAIN, ["hinge", "'bce'"], changed("best.yaml", lambda v: v["configuration"].update({"structure.loss": "bce"}))
    ),
}
BAD_FILES = {
    "spec that is missing": Case(["run", "none.yaml"], ["cannot read none.yaml", "No such file"]),
    "spec that is a folder": Case(["run", "run"], ["cannot read run", "Is a directory"]),
    "spec of bytes": Case(RUN, ["cannot read bad.yaml", "not text"], file("bad.yaml", b"\xff\xfe\x00")),
    "spec that is empty": Case(RUN, ["bad.yaml", "'key: value' lines"], file("bad.yaml", "")),
    "spec that is a list": Case(RUN, ["bad.yaml", "'key: value' lines", "list"], file("bad.yaml", "- trials")),
    "spec that is broken": Case(RUN, ["bad.yaml is not plain YAML at line 2"], file("bad.yaml", "trials: 3\nspace: [")),
    "spec with a tab": Case(RUN, ["bad.yaml is not plain YAML at line 2"], file("bad.yaml", "ladder:\n\tkeep: 1")),
    "spec with a date": Case(RUN, ["trials must be", "'2026-02-30'"], file("bad.yaml", "trials: 2026-02-30")),
    "space that is missing": Case(["spaces", "none.yaml"], ["cannot read none.yaml"]),
    "spec with a tag": Case(
        RUN, ["bad.yaml is not plain YAML at line 1", "python"], file("bad.yaml", f"trials: {TAG}")
    ),
    "space with a tag": Case(
        ["run", "--set", "space=own.yaml"], ["own.yaml is not plain YAML", "python"], file("own.yaml", f"base: {TAG}")
    ),
    "set with a tag": Case(["run", "--set", f"trials={TAG}"], ["--set trials", "not plain YAML", "python"]),
    "export with a tag": Case(
        TRAIN, ["best.yaml is not plain YAML", "python"], file("best.yaml", f"configuration: {TAG}")
    ),
    "model with a tag": Case(
        SAMPLE, ["config.yaml is not plain YAML"], file("best/config.yaml", f"configuration: {TAG}")
    ),
    "run's spec with a tag": Case(AGAIN, ["spec.yaml is not plain YAML"], file("run/spec.yaml", f"trials: {TAG}")),
}
BAD_DATA = {
    "class scores of unlabelled pictures": Case(
        [
            "run",
            "--set",
            "structure.dataset=images:pictures",
            *settings("structure.image_size_pixels=8", "objective=class_kl"),
        ],
        ["objective 'class_kl' needs labels", "'images:pictures' has none", "class subfolders"],
        lambda here: pictures(here / "pictures"),
    ),
    "classes of unlabelled pictures": Case(
        [
            "run",
            *settings("space=cgan", "structure.dataset=images:pictures", "structure.image_size_pixels=8"),
        ],
        ["architecture 'cgan' needs labels", "class subfolders"],
        lambda here: pictures(here / "pictures"),
    ),
    "a broken picture": Case(
        ["run", *settings("structure.dataset=images:pictures", "structure.image_size_pixels=8")],
        ["broken.png", "--skip-corrupt-images"],
        lambda here: [pictures(here / "pictures"), (here / "pictures/broken.png").write_bytes(b"\x89PNG")],
    ),
    "no root": Case(["run", "--local", "--set", "space=mlp"], ["'mnist'", "--data-root", "MNIST/raw"]),
    "no files": Case(RUN_MNIST, ["data/MNIST/raw/train-images-idx3-ubyte", "put the IDX file there"]),
    "fashion": Case(
        ["run", "--local", "--set", "space=fashion_mlp", "--data-root", "."], ["FashionMNIST/raw/train-images"]
    ),
    "one file missing": Case(
        RUN_MNIST, ["no file", "t10k-labels-idx1-ubyte"], mnist(lambda raw: (raw / f"{PARTS[3]}-ubyte").unlink())
    ),
    "truncated gzip": Case(
        RUN_MNIST,
        ["train-images-idx3-ubyte.gz", "not a whole gzip"],
        mnist(lambda raw: os.truncate(raw / f"{PARTS[0]}-ubyte.gz", 40)),
    ),
    "no gzip": Case(
        RUN_MNIST,
        ["train-images-idx3-ubyte.gz", "not a whole gzip"],
        mnist(lambda raw: (raw / f"{PARTS[0]}-ubyte.gz").write_bytes(b"<html>not found</html>")),
    ),
    "damaged gzip": Case(
        RUN_MNIST,
        ["train-images-idx3-ubyte.gz", "not a whole gzip"],
        mnist(lambda raw: (raw / f"{PARTS[0]}-ubyte.gz").write_bytes(gzip.compress(b"x" * 999)[:10] + b"\xff" * 30)),
    ),
    "wrong magic number": Case(
        RUN_MNIST,
        ["train-labels-idx1-ubyte", "not an IDX file", "89504e47"],
        mnist(lambda raw: (raw / f"{PARTS[1]}-ubyte").write_bytes(b"\x89PNG" + bytes(99))),
    ),
    "wrong kind of number": Case(
        RUN_MNIST,
        ["train-labels-idx1-ubyte", "not an IDX file of bytes", "00000d01"],
        mnist(lambda raw: (raw / f"{PARTS[1]}-ubyte").write_bytes(b"\0\0\x0d\x01" + bytes(99))),
    ),
    "empty": Case(
        RUN_MNIST,
        ["train-labels-idx1-ubyte", "not an IDX"],
        mnist(lambda raw: (raw / f"{PARTS[1]}-ubyte").write_bytes(b"")),
    ),
    "ends in the header": Case(
        RUN_MNIST, ["ends inside its header"], mnist(lambda raw: os.truncate(raw / f"{PARTS[1]}-ubyte", 6))
    ),
    "fewer bytes than declared": Case(
        RUN_MNIST,
        ["declares [20] = 20 bytes and holds 15"],
        mnist(lambda raw: os.truncate(raw / f"{PARTS[1]}-ubyte", 23)),
    ),
    "counts that differ": Case(
        RUN_MNIST,
        ["one label for each image", "[20, 28, 28]", "[19]"],
        mnist(lambda raw: (raw / f"{PARTS[1]}-ubyte").write_bytes(idx(np.zeros(19)))),
    ),
    "no images": Case(
        RUN_MNIST,
        ["one label for each image", "[0]"],
        mnist(
            lambda raw: [
                (raw / f"{PARTS[0]}-ubyte").write_bytes(idx(np.zeros((0, 28, 28)))),
                (raw / f"{PARTS[1]}-ubyte").write_bytes(idx(np.zeros(0))),
            ]
        ),
    ),
    "sizes that differ": Case(
        RUN_MNIST,
        ["data/MNIST/raw", "[20, 28, 28]", "[20, 26, 26]"],
        mnist(lambda raw: (raw / f"{PARTS[2]}-ubyte").write_bytes(idx(np.zeros((20, 26, 26))))),
    ),
    "label that is not trained": Case(
        RUN_MNIST,
        ["data/MNIST/raw", "t10k", "12"],
        mnist(lambda raw: (raw / f"{PARTS[3]}-ubyte").write_bytes(idx(np.arange(20) % 13))),
    ),
    "labels for images": Case(
        RUN_MNIST, ["[20]"], mnist(lambda raw: (raw / f"{PARTS[0]}-ubyte").write_bytes(idx(np.zeros(20))))
    ),
    "all black": Case(
        RUN_MNIST,
        ["all 20 held-out images of data set 'mnist' are the same"],
        mnist(lambda raw: (raw / f"{PARTS[2]}-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros((20, 28, 28)))))),
    ),
    "all of one label": Case(
        RUN_MNIST,
        ["all 20 held-out images of data set 'mnist' have the label 3", "images:FOLDER"],
        mnist(lambda raw: (raw / f"{PARTS[3]}-ubyte").write_bytes(idx(np.full(20, 3)))),
    ),
    "too few to hold out": Case(
        ["run", *OF_PICTURES],
        ["at least 6 held-out images", "'images:pictures' has 5", "add pictures"],
        lambda here: [pictures(here / "pictures"), *((here / f"pictures/{n}.png").unlink() for n in range(5))],
    ),
    "too few to hold out, tried dry": Case(
        ["run", "--dry-run", *OF_PICTURES],
        ["at least 6 held-out images"],
        lambda here: [pictures(here / "pictures"), *((here / f"pictures/{n}.png").unlink() for n in range(5))],
    ),
    "a broken picture, tried dry": Case(
        ["run", "--dry-run", *OF_PICTURES],
        ["broken.png", "--skip-corrupt-images"],
        lambda here: [pictures(here / "pictures"), (here / "pictures/broken.png").write_bytes(b"\x89PNG")],
    ),
    "no files, tried dry": Case([*RUN_MNIST, "--dry-run"], ["data/MNIST/raw/train-images-idx3-ubyte"]),
    "another run, tried dry": Case(
        [*AGAIN, "--dry-run", "--set", "seed=1"], ["another spec", "these keys differ: seed"]
    ),
    "final training": Case(
        TRAIN,
        ["'mnist'", "--data-root"],
        changed("best.yaml", lambda v: v["configuration"].update({"structure.dataset": "mnist"})),
    ),
}
BAD_FOLDERS = {
    "run below a file": Case(["run", "--local", "--out", "best.yaml/x"], ["cannot write to best.yaml/x", "--out"]),
    "run that is a file": Case(
        ["run", "--local", "--out", "best.yaml"], ["best.yaml exists and is no run folder", "--out"]
    ),
    "run with other files": Case(["run", "--local", "--out", "best"], ["best exists and is no run folder", "--name"]),
    "run with a long name": Case(["run", "--local", "--out", LONG], ["cannot read", LONG]),
    "results of nothing": Case(["results", "none"], ["none is no run folder", "spec.yaml"]),
    "results of a file": Case(["results", "best.yaml"], ["best.yaml is no run folder"]),
    "results of a model": Case(["results", "best"], ["best is no run folder"]),
    "results without rows": Case(["results", "new"], ["new has no results yet"], file("new/spec.yaml", "trials: 3")),
    "results of other rows": Case(["results", "run"], ["rows.jsonl"], file("run/rows.jsonl", '{"a": 1}\n')),
    "results of a broken row": Case(
        ["results", "run"], ["rows.jsonl, line 1", "not JSON"], file("run/rows.jsonl", "a\n{}\n")
    ),
    "results of a row twice": Case(
        ["results", "run"], ["trial 0 stands twice at rung 0"], rows(lambda r: r.append(r[0]))
    ),
    "results below a file": Case(["results", "run", "-o", "best.yaml/x.csv"], ["cannot write best.yaml/x.csv"]),
    "results as a folder": Case(
        ["results", "run", "-o", "best", "--format", "csv"], ["cannot write best", "directory"]
    ),
    "results of no known format": Case(
        ["results", "run", "-o", "x.txt"], [".csv, .json, .parquet, .xlsx", "got 'x.txt'"]
    ),
    "results in a format without a file": Case(["results", "run", "--format", "json"], ["add -o FILE", "json"]),
    "results where something is called": Case(
        ["results", "run", "--where", "__import__('os').system('true')"], ["and not __import__('os').system('true')"]
    ),
    "results where a column is misspelt": Case(
        ["results", "run", "--where", "fidelty < 3"], ["no column 'fidelty'", "did you mean 'fidelity'?"]
    ),
    "results by a column that is not there": Case(["results", "run", "--sort=-lrr"], ["no column 'lrr'"]),
    "results of columns that are not there": Case(["results", "run", "--columns", "trial,x\x1by"], ["no column"]),
    "export of nothing": Case(["export", "none"], ["none is no run folder"]),
    "export of no trial": Case(["export", "run", "--trial", "99"], ["no trial 99", "0 to 3"]),
    "export into a folder": Case(["export", "run", "-o", "best"], ["cannot write best", "directory"]),
    "export below a file": Case(["export", "run", "-o", "best.yaml/x"], ["cannot write best.yaml/x"]),
    "export of another spec": Case(["export", "run"], ["spec.yaml", "ladder"], file("run/spec.yaml", "trials: 4")),
    "train below a file": Case(["train", "best.yaml", "-o", "best.yaml/x"], ["cannot write to best.yaml/x", "-o"]),
    "train into a file": Case(["train", "best.yaml", "-o", "good.yaml"], ["good.yaml is no folder", "-o"]),
    "sample of nothing": Case(["sample", "none"], ["none holds no model", "gan-sweep train"]),
    "sample of a run's lost trial": Case(
        ["sample", "run", "--trial", "1"],
        ["run holds no generator of trial 1", "kept: 0, 2, 3", "keep_checkpoints"],
        lambda here: shutil.rmtree(here / "run/checkpoints/trial-0001"),
    ),
    "a data root of no user": Case([*RUN_MNIST[:-1], "~nouser"], ["--data-root", "no home folder '~nouser'"]),
    "a data root of no user in a spec": Case(
        RUN, ["no home folder '~nouser'"], spec(space="mlp", data_root="~nouser/x")
    ),
    "pictures of no user": Case(
        ["run", *settings("structure.dataset=images:~nouser/x", "structure.image_size_pixels=8")],
        ["no home folder '~nouser'"],
    ),
    "a space of no user": Case(RUN, ["no home folder '~nouser'"], spec(space="~nouser/x.yaml")),
    "features of no user": Case(RUN, ["no home folder '~nouser'"], spec(scoring={"features": "~nouser/x.pt"})),
    "weights of no user": Case(
        RUN,
        ["no home folder '~nouser'"],
        spec(scoring={"features": "inception", "inception_weights": "~nouser/x.pt"}),
    ),
    "sample of a model's trial": Case(["sample", "best", "--trial", "1"], ["best is no run", "--trial"]),
    "sample as text": Case(["sample", "best", "-o", "x.txt"], [".png", ".npy", "x.txt"]),
    "sample of numbers below a file": Case(
        ["sample", "best", "-o", "best.yaml/x.npy"], ["cannot write best.yaml/x.npy"]
    ),
    "sample below a file": Case(["sample", "best", "-o", "best.yaml/x.png"], ["cannot write best.yaml/x.png"]),
    "sample into a folder": Case(
        ["sample", "best", "-o", "x.png"], ["cannot write x.png", "directory"], lambda here: (here / "x.png").mkdir()
    ),
    "changed scoring": Case(
        [*AGAIN, "--set", "scoring.samples=77"], ["another spec", "these keys differ: scoring.samples"]
    ),
    "changed health": Case(
        [*AGAIN, "--set", "health.won_loss=0.5"], ["another spec", "these keys differ: health.won_loss"]
    ),
    "changed objective": Case([*AGAIN, "--set", "objective=fid"], ["another spec", "these keys differ: objective"]),
    "results of two protocols": Case(
        ["results", "run"], ["different protocols cannot be compared"], rows(lambda r: r[-1].update(protocol="other"))
    ),
    "export of two protocols": Case(
        ["export", "run"], ["different protocols cannot be compared"], rows(lambda r: r[-1].update(protocol="other"))
    ),
    "sample of a class of none": Case([*SAMPLE, "--class", "3"], ["no class or code 3", "not conditional"]),
    "sample of a class below zero": Case([*SAMPLE, "--class", "-1"], ["--class", "at least 0", "'-1'"]),
    "changed spec": Case([*AGAIN, "--set", "seed=1"], ["another spec", "these keys differ: seed"]),
    "resumed with other rows": Case(AGAIN, ["rows.jsonl"], rows(lambda r: [r.pop(), r[-1].pop("score")])),
    "resumed without its cohorts": Case(
        AGAIN,
        ["rows.jsonl", "cohorts.jsonl beside it has no trial"],
        lambda here: [rows(lambda r: r.pop())(here), (here / "run/cohorts.jsonl").unlink()],
    ),
}
NONSENSE = {
    "no file": Case(["train", "none.yaml"], ["cannot read none.yaml", "No such file"]),
    "a spec": Case(["train", "good.yaml"], ["good.yaml", "configuration", "gan-sweep export"]),
    "an empty file": Case(TRAIN, ["best.yaml", "'key: value' lines"], file("best.yaml", "")),
    "no training": Case(TRAIN, ["no mapping 'training'"], changed("best.yaml", lambda v: v.pop("training"))),
    "configuration as text": Case(
        TRAIN, ["no mapping 'configuration'"], changed("best.yaml", lambda v: v.update(configuration="best"))
    ),
    "a value out of range": Case(
        TRAIN,
        ["lane.beta1", "below 1", "2"],
        changed("best.yaml", lambda v: v["configuration"].update({"lane.beta1": 2})),
    ),
    "a value of wrong type": Case(
        TRAIN,
        ["lane.beta1", "a number"],
        changed("best.yaml", lambda v: v["configuration"].update({"lane.beta1": [1]})),
    ),
    "a value taken out": Case(
        TRAIN,
        ["generator_lr", "a number"],
        changed("best.yaml", lambda v: v["configuration"].update({"lane.generator_lr": None})),
    ),
    "images at zero": Case(
        TRAIN, ["training.images", "0"], changed("best.yaml", lambda v: v["training"].update(images=0))
    ),
    "points falling": Case(
        TRAIN,
        ["evaluate_at_images", "rise"],
        changed("best.yaml", lambda v: v["training"].update(evaluate_at_images=[2, 1])),
    ),
    "another digest": Case(
        TRAIN,
        ["has digest", "was found on abc", "--other-data"],
        changed("best.yaml", lambda v: v["data"].update(digest="abc")),
    ),
    "score as text": Case(TRAIN, ["score", "mapping"], changed("best.yaml", lambda v: v.update(score="good"))),
    "a folder of other things": Case(["train", "best.yaml", "-o", "run"], ["run holds other files, such as", "-o"]),
    "a folder of pictures": Case(
        ["train", "best.yaml", "-o", "."], [". holds other files, such as best; choose another -o"]
    ),
    "a file in the model's place": Case(TRAIN, ["new is no folder", "-o"], file("new", "colour: red\n")),
    "a model's name that is too long": Case(
        ["train", "best.yaml", "-o", "x" * 300], ["cannot write to xxx", "File name too long", "-o"]
    ),
    "a file of another program's": Case(
        TRAIN, ["new/config.yaml is no model's", "-o"], file("new/config.yaml", "colour: red\n")
    ),
    "a model without its file": Case(
        [*TRAIN[:3], "best"],
        ["best holds other files, such as curves.jsonl"],
        lambda here: (here / "best/config.yaml").unlink(),
    ),
    "standard output": Case(["train", "best.yaml", "-o", "-"], ["-o must be a folder"]),
    "another model's folder": Case(["train", "best.yaml", "-o", "best", "--seed", "5"], ["these differ: seed", "-o"]),
    "another model's state": Case(
        [*TRAIN[:3], "best", "--images", "99999"],
        ["checkpoint", "does not fit", "; remove state.safetensors, and training begins again"],
        lambda here: [change(here) for change in OTHER_WIDTH],
    ),
    "broken state": Case(
        [*TRAIN[:3], "best", "--images", "99999"],
        ["best/state.safetensors: ", "; remove state.safetensors, and training begins again"],
        file("best/state.safetensors", b"nonsense"),
    ),
    "broken generator": Case(SAMPLE, ["generator.safetensors"], file("best/generator.safetensors", b"nonsense")),
    "another generator": Case(
        SAMPLE,
        ["do not fit"],
        changed("best/config.yaml", lambda v: v["configuration"].update({"structure.latent_size": 9})),
    ),
    "model without a shape": Case(SAMPLE, ["sample_shape"], changed("best/config.yaml", lambda v: v.pop("model"))),
    "what made a model as a number": Case(
        [*TRAIN[:3], "best"],
        ["model.made_by in", "must list mappings with from_images"],
        changed("best/config.yaml", lambda v: v["model"].update(made_by=3)),
    ),
    "what made a model from nowhere": Case(
        [*TRAIN[:3], "best"],
        ["model.made_by in"],
        changed("best/config.yaml", lambda v: v["model"].update(made_by=[{}])),
    ),
    "model as a list": Case(SAMPLE, ["sample_shape"], changed("best/config.yaml", lambda v: v.update(model=[1]))),
    "model of no shape": Case(
        SAMPLE, ["sample_shape"], changed("best/config.yaml", lambda v: v["model"].update(sample_shape=[]))
    ),
    "model of another shape": Case(
        SAMPLE, ["do not fit"], changed("best/config.yaml", lambda v: v["model"].update(sample_shape=[1, 9, 9]))
    ),
}
OTHER_WIDTH = [
    changed(path, lambda v: v["configuration"].update({"structure.discriminator_width": 17}))
    for path in ("best.yaml", "best/config.yaml")
]
CASES = {
    f"{group}: {name}": case
    for group, cases in (
        ("unknown key", UNKNOWN_KEYS),
        ("wrong value", WRONG_VALUES),
        ("unknown name", UNKNOWN_NAMES),
        ("bad file", BAD_FILES),
        ("bad data", BAD_DATA),
        ("bad folder", BAD_FOLDERS),
        ("nonsense", NONSENSE),
    )
    for name, case in cases.items()
}


@pytest.fixture(scope="module")
def prepared(digits_run, tmp_path_factory) -> Path:
    """A folder with a finished run, an exported file, a model trained from it, and a good spec."""
    from sweep.commands.cli import main

    home = tmp_path_factory.mktemp("prepared")
    shutil.copytree(digits_run, home / "run")
    assert main(["export", str(home / "run"), "-o", str(home / "best.yaml")]) == 0
    assert main(["train", str(home / "best.yaml"), "-o", str(home / "best"), "--images", "256"]) == 0
    (home / "good.yaml").write_text(yaml.safe_dump(SPEC))
    return home


def check_one_line(code: int, err: str, says: list[str]) -> None:
    assert code == 2
    assert "Traceback" not in err
    assert err.count("\n") == 1, err
    assert err.startswith("gan-sweep")
    assert [fragment for fragment in says if fragment not in err] == [], err


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_input_is_one_clear_line_and_exit_2(gan_sweep, prepared, case):
    shutil.copytree(prepared, Path.cwd(), dirs_exist_ok=True)
    case.prepare(Path.cwd())
    answer = gan_sweep(*case.arguments)
    check_one_line(answer.code, answer.err, case.says)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_input_leaves_nothing_behind(gan_sweep, prepared, case):
    here = Path.cwd()
    shutil.copytree(prepared, here, dirs_exist_ok=True)
    case.prepare(here)
    before = set(here.rglob("*"))
    with suppress(Exception):  # what it says, and how, is asked above
        gan_sweep(*case.arguments)
    assert {str(path.relative_to(here)) for path in set(here.rglob("*")) - before} == set()


def test_an_instruction_set_that_there_is_not_is_refused_before_a_sweep_starts(gan_sweep, monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_ISA", "avx3")
    answer = gan_sweep("run", *settings(*TINY))
    assert answer.code == 2
    assert answer.err == "gan-sweep: unknown GAN_SWEEP_ISA 'avx3'; did you mean 'avx2'?\n"
    assert not list(Path().iterdir())


@pytest.mark.parametrize("name", ["unknown key: spec key", "bad file: spec with a tag", "bad data: truncated gzip"])
def test_a_real_process_answers_in_the_same_way(tmp_path, prepared, name):
    case = CASES[name]
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    case.prepare(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "sweep.commands.cli", *case.arguments], cwd=tmp_path, capture_output=True, text=True
    )
    check_one_line(done.returncode, done.stderr, case.says)
    assert not (tmp_path / "trap").exists()


def test_the_good_input_that_these_cases_spoil_is_good(gan_sweep, prepared):
    here = Path.cwd()
    shutil.copytree(prepared, here, dirs_exist_ok=True)
    write_mnist(here)
    assert load_dataset("mnist", Path("data")).train.shape == (20, 1, 28, 28)
    small = settings("structure.generator_width=8", "structure.discriminator_width=8")
    for arguments in (
        ["run", "--local", "good.yaml", *small],
        AGAIN,
        ["results", "run"],
        ["export", "run", "-o", "x.yaml"],
        [*TRAIN, "--images", "256"],
        SAMPLE,
    ):
        answer = gan_sweep(*arguments)
        assert (answer.code, answer.err) == (0, ""), arguments


UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


@pytest.mark.skipif(bool(UNPRIVILEGED) and shutil.which("setpriv") is None, reason="root may read and write everything")
@pytest.mark.parametrize(
    ("mode", "arguments", "says"),
    [
        (0o555, ["run", "--local", "--out", "shut/run"], ["cannot write to shut/run", "Permission denied", "--out"]),
        (0o000, ["run", "--local", "--out", "shut/run"], ["shut/run", "Permission denied", "--out"]),
        (0o555, ["export", "run", "-o", "shut/x.yaml"], ["cannot write shut/x.yaml", "Permission denied"]),
        (0o555, ["results", "run", "-o", "shut/x.csv"], ["cannot write shut/x.csv", "Permission denied"]),
        (0o000, ["results", "shut/run"], ["shut/run", "Permission denied"]),
        (0o000, ["train", "shut/best.yaml"], ["cannot read shut/best.yaml", "Permission denied"]),
    ],
    ids=str,
)
def test_a_folder_that_is_shut_is_one_clear_line(tmp_path, digits_run, mode, arguments, says):
    shutil.copytree(digits_run, tmp_path / "run")
    (tmp_path / "shut").mkdir(mode=mode)
    command = [*UNPRIVILEGED, sys.executable, "-m", "sweep.commands.cli", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    (tmp_path / "shut").chmod(0o700)
    check_one_line(done.returncode, done.stderr, says)
    assert list((tmp_path / "shut").iterdir()) == []
