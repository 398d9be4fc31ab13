"""Every test sees a home and a cache of its own, and one torch thread."""

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from events import Clock
from tiny_runs import TINY, Answer, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it when a test first imports it; so do its subprocesses


# They start Ray, of which there is to be one tree at a time.
IN_TURN = ("test_kills", "test_ray_runner", "test_disk", "test_place")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With pytest-xdist a file's tests stay together, which share what is slow to make. Those in turn take longest, and
    come first.
    """
    items.sort(key=lambda item: item.path.stem not in IN_TURN)
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            item.add_marker(pytest.mark.xdist_group("in turn" if item.path.stem in IN_TURN else item.path.stem))


@pytest.fixture(scope="session", autouse=True)
def _isolation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No file of the user's is read or written; the digits classifier is trained once for all tests, and a library in C
    made once, in whichever of pytest's processes. Ctrl-C works in what tests start, also where the suite itself was
    started in the background, deaf to it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("GAN_SWEEP_CACHE", str(shared / "cache"))
        patch.delenv("XDG_CACHE_HOME", raising=False)
        yield


@pytest.fixture(scope="module")
def unsynced() -> Iterator[None]:
    """No fsync, which is slow: what a killed process wrote is in the page cache; only a power cut needs the disk. And
    no time passes, so that rows are equal to the last byte.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        patch.setattr("sweep.ledger.study.time", Clock())
        yield


@pytest.fixture(scope="module")
def arithmetic() -> Iterator[None]:
    """The arithmetic that trials are computed in."""
    from gan_core.lanes.axis import lane_arithmetic

    with lane_arithmetic():
        yield


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """80,000 triangles take seconds to draw, and long to score against; a classifier takes seconds to train."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gan_core.fidelity.features.classifier.STEPS", 20)
        patch.setattr("gan_core.fidelity.features.classifier.RECIPE", "quick")
        patch.setattr("gan_core.data.polygons.POLYGONS", 1400)
        patch.setattr("gan_core.data.polygons.RECIPE", "few")
        patch.setattr("gan_core.data.dataset.POLYGONS_TRAIN_IMAGES", 1000)
        patch.setattr("gan_core.data.dataset.POLYGONS_HELD_OUT_IMAGES", 300)
        yield


@pytest.fixture
def gan_sweep(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Answer]:
    """The command line in this process, standing in an empty folder `here`; its warnings are printed, as for a user."""
    from sweep.commands.cli import main

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as stop:
                code = int(stop.code or 0)
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory, _isolation: None) -> Path:
    """The folder of a finished local sweep of four real trials. Tests copy it before they change it."""
    from sweep.commands.cli import main

    out = tmp_path_factory.mktemp("digits") / "run"
    assert main(["run", "--local", "--out", str(out), *settings(*TINY)]) == 0
    return out
