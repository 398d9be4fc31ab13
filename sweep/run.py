"""`run_sweep`, which takes a spec and returns a table. Everything is on disk, so the same call resumes a sweep."""

import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_core.config.arguments import is_own
from gan_core.config.combinations import check_classes, check_objective
from gan_core.config.conditions import Conditions, as_scored_before
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError, home_path, shown
from gan_core.config.own_names import is_reference
from gan_core.config.reports import OutOfMemory
from gan_core.config.structure import StructureConfig, check_size
from gan_core.data.enough_images import check_images, notices
from gan_core.data.image_files import FILE_KINDS, Request, read_image_files
from gan_core.data.published_images import ImageSplits
from gan_core.data.roots import data_folder
from gan_core.files.own_code import OwnCodeError, bring
from gan_core.files.whole_files import appearing_whole
from gan_core.native.isa import this_isa
from results.store import OLD_OWNER_SECONDS, RunFolder, exclusive, write_atomically
from results.trial_run import TrialRun
from sweep.ledger import agenda
from sweep.ledger.callbacks import Callback, RowFeed, check_callbacks
from sweep.ledger.cohort_record import read_rows
from sweep.ledger.endings import plain_endings
from sweep.ledger.same_data import check_same_data
from sweep.ledger.standings import Standings
from sweep.proposals.warm_start import warm_started
from sweep.runners.progress import ProgressDisplay
from sweep.runners.progress_file import ProgressFile
from sweep.spec.sweep_spec import SweepSpec
from sweep.spec.tracking import require_installed
from sweep.storage.placed_run import PlacedRun, stored

if TYPE_CHECKING:
    from results.table import ResultsTable

# feature extractors that are fitted here, to the data set alone
FITTED_FEATURES = ("auto", "classifier", "classifier+pixels", "pca", "pixels")


def run_sweep(
    spec: SweepSpec,
    out: str | Path | None = None,
    *,
    local: bool = False,
    address: str | None = None,
    download: bool = False,
    extend: bool = False,
    warm_start: str | Path | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
) -> "ResultsTable":
    """Runs a sweep to its end, goes on with one, or finds it finished, and returns its table.

    out: the run's folder, `runs/<name>` by default, or its address in an object store (`s3://bucket/run`), to which the
    folder is then copied while the sweep goes on. local: train in this process, without Ray. address: a running Ray
    cluster (host:port, or `auto` for one on this machine); $RAY_ADDRESS decides where it is None, and `local` means
    none. A program that has called `ray.init` needs no address: its session is used and left running. Otherwise,
    without an address, a local cluster starts and ends with the sweep. Where the head of Ray is lost or its process on
    this machine, which includes those of the program's own session, this process ends with exit code 2: every call of
    Ray would block, and could not be interrupted. download: let torchvision fetch a missing data set. extend: the
    existing run may be given more trials, further rungs (the best of the completed trials go on from where they ended),
    another budget or other confirmations. warm_start: the folder or the address of an earlier run, whose best trials
    are tried first. progress: whether to print how far the sweep is; warnings are printed in any case. callbacks: see
    `sweep.ledger.callbacks`.

    Raises InputError or ResultsError, with one line each, for what a person can mend, and PlaceError for what would
    have hit any configuration. KeyboardInterrupt passes through, with all that was reported on disk, and so does what a
    callback raises.
    """
    check_callbacks(callbacks)
    display = ProgressDisplay(spec.ladder, spec.objective, spec.space.searched, silent=not progress)
    place = out or Path("runs") / spec.name
    with (
        display,
        stored(place, display.tell, display.say) as run,
        plain_endings(run.folder),
        display.kept_in(ProgressFile(run.folder)),
    ):
        spec = spec if warm_start is None else warm_started(spec, run.folder, warm_start)
        check_run(spec, run.folder, download=download, extend=extend, on_phase=display.now)
        run.folder.create()
        table = _run_in(run, spec.placed(), local, address, extend, display, callbacks)
    for callback in callbacks:
        callback.end(table)
    return table


def _run_in(
    run: PlacedRun,
    spec: SweepSpec,
    local: bool,
    address: str | None,
    extend: bool,
    display: ProgressDisplay,
    callbacks: Sequence[Callback],
) -> "ResultsTable":
    """Runs the sweep while no other process may use the folder, and returns its table."""
    folder = run.folder
    with exclusive(folder.driver_lock):
        _refuse_other_spec(spec, folder, extend)
        with exclusive(folder.study_lock, wait_seconds=OLD_OWNER_SECONDS):
            folder.repair()  # the study may live in another process, where nobody sees the warning
        if not is_finished(spec, folder):
            if folder.spec.exists():
                display.tell(f"going on with {folder.shown}")
                _tell_of_noise(folder, display)
            write_atomically(folder.spec, spec.to_yaml())
            feed = RowFeed(callbacks, folder)
            _run(spec, run, local, address, display, feed)
            feed.look()
    from results.table import ResultsTable  # pandas loads while Ray starts

    table = ResultsTable.load(folder.path)
    finalists = table.confirmed["trial"].tolist() if table.winner() is not None else []
    for trial in (finalists or table.contenders["trial"].tolist())[:1]:
        picture = folder.trial_samples(TrialRun(trial))
        if picture.is_file():
            with appearing_whole(folder.best_samples, synced=False) as partial_picture:
                shutil.copyfile(picture, partial_picture)
    return table


def _tell_of_noise(folder: RunFolder, display: ProgressDisplay) -> None:
    """Prints, before a run goes on, how noisy its scores are by its trials so far."""
    if not folder.rows.exists():
        return
    from results.table import ResultsTable
    from results.text import noise_text

    if folder.rows.stat().st_size and (found := noise_text(ResultsTable.load(folder.path))):
        display.tell(found)


def is_finished(spec: SweepSpec, folder: RunFolder) -> bool:
    """Whether a run has done all that a spec asks for. A spec that does not extend the run's own asks for another."""
    if not folder.rows.exists() or SweepSpec.from_yaml(folder.spec).differences(spec, extended=True):
        return False
    return agenda.nothing_left(Standings.load(spec, folder))


def _run(
    spec: SweepSpec, run: PlacedRun, local: bool, address: str | None, display: ProgressDisplay, feed: RowFeed
) -> None:
    here = RunFolder(run.folder.path.resolve())  # other processes may have other working folders
    spec = replace(spec, scoring=as_scored_before(spec.scoring, _protocol(run.folder)))
    on_step = _Steps([step for step in (feed.look if feed else None, run.check) if step is not None])
    if local:
        display.now("loading PyTorch")
        from sweep.runners.local.runner import run_local

        run_local(spec, here, display, on_step=on_step)
    else:
        from sweep.runners.ray.runner import run_ray

        run_ray(spec, here, display, address, on_step=on_step if on_step.steps else None, on_lost=run.leave)


class _Steps:
    """Makes these calls, one after another. Tune pickles what it is given, in which threads and locks would be, to a
    file that nobody reads: so nothing of it is pickled.
    """

    def __init__(self, steps: Sequence[Callable[[], None]] = ()) -> None:
        self.steps = steps

    def __call__(self) -> None:
        for step in self.steps:
            step()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Steps, ()


def _protocol(folder: RunFolder) -> str:
    """The protocol by which the rows so far were scored; "" where none was."""
    return next((row.protocol for row in read_rows(folder) if row.protocol), "") if folder.rows.exists() else ""


def _refuse_foreign_folder(folder: RunFolder) -> None:
    """Raises InputError where the folder holds other things than a run."""
    path = folder.path
    if folder.holds_run() or not path.exists():
        return
    if not path.is_dir() or any(not p.name.startswith(".") for p in path.iterdir()):
        raise InputError(f"{path} exists and is no run folder; give another --out or --name")


def _refuse_other_spec(spec: SweepSpec, folder: RunFolder, extend: bool) -> None:
    if not folder.holds_run():
        if extend:
            raise InputError(f"{folder.path} holds no run that could be extended; leave --extend out to begin one")
        return
    there, spec = SweepSpec.from_yaml(folder.spec).placed(), spec.placed()
    if not (changed := there.differences(spec, extended=extend)):
        return
    mend = "give another --name or --out, or take the change back"
    if not extend and not there.differences(spec, extended=True):
        mend = "add --extend to go on with it so, or take the change back"
    raise InputError(f"{folder.path} holds a run with another spec; these keys differ: {', '.join(changed)}; {mend}")


def check_run(
    spec: SweepSpec,
    folder: RunFolder,
    *,
    download: bool = False,
    extend: bool = False,
    on_phase: Callable[[str], object] = lambda phase: None,
) -> None:
    """Checks what `run_sweep` checks before anything starts or is written, and warns of what a person should know of
    the data. download: let torchvision fetch a missing data set. on_phase is told, in words, what takes long.

    Raises InputError or ResultsError for a folder of other things, a run with another spec or of other data, a tracker
    that is not installed, and as `check_files` does.
    """
    _refuse_foreign_folder(folder)
    _refuse_other_spec(spec, folder, extend)
    require_installed(spec.tracking)
    if parse_dataset_name(spec.conditions().dataset).kind in FILE_KINDS:
        on_phase(f"reading {spec.conditions().dataset}")
    images, features = check_files(spec.space.base.structure, spec.conditions(), download, on_phase)
    if spec.space.base.structure.is_own:
        on_phase("calling your networks")
        _check_networks(spec)
    _check_losses(spec)
    if folder.holds_run():
        check_same_data(folder, read_rows(folder), spec.conditions(), images, features)
    for line in [] if images is None else notices(spec.conditions().dataset, images):
        warnings.warn(line, stacklevel=2)


def _check_networks(spec: SweepSpec) -> None:
    """Makes and calls a person's own networks as trial 0 has them, and with both ends or all choices of each of their
    arguments. Raises InputError for the first that cannot be used, and warns of those that are too large for this
    machine.
    """
    from gan_core.execution.pace import within_memory
    from gan_core.networks.architectures import build_networks
    from gan_core.training.lane_checks import check_precision
    from gan_core.workshop.memory import data_form

    check_precision(spec.precision)
    base = spec.space.base.flatten()
    for name, value in [
        ("", None),
        *((name, one) for name, scope in spec.space.ranges.items() for one in scope.extremes),
    ]:
        if not name or (is_own(name) and value != base[name]):
            structure = GanConfig.unflatten({**base, name: value} if name else base).structure
            form = data_form(structure)
            where = f"with {name} {shown(value)}: " if name else ""
            try:
                with within_memory(lanes=1):
                    build_networks(structure, form.sample_shape, form.classes)
            except OutOfMemory as error:  # which other machines may have
                warnings.warn(f"{where}{error}; trials that are so large end as out of memory", stacklevel=2)
            except InputError as error:
                raise OwnCodeError(f"{where}{error}", getattr(error, "theirs", "")) from error


def _check_losses(spec: SweepSpec) -> None:
    """Calls the losses of a person's own that are searched. Raises InputError for one that cannot be used."""
    searched = spec.space.ranges.get("structure.loss")
    for loss in (spec.space.base.structure.loss, *(searched.choices if searched else ())):
        if is_reference(loss):
            from gan_core.game.own_losses import own_loss

            own_loss(loss)


def check_files(
    structure: StructureConfig,
    conditions: Conditions,
    download: bool,
    on_phase: Callable[[str], object] = lambda phase: None,
) -> tuple[ImageSplits | None, str]:
    """Reads the data set and the feature network that a person must provide, and which instruction set is asked for, so
    that what is wrong with them is said before anything starts. download: let torchvision fetch a missing data set.
    on_phase: as for `check_run`.

    Returns the images, or None where none were read, and the name of the extractor, or "" where none was loaded.

    Raises InputError as `gan_core.data.image_files.read_image_files`, `gan_core.data.enough_images.check_images`,
    `gan_core.fidelity.features.extractors.load_extractor` and `gan_core.native.isa.this_isa` do, and where the
    structure does not fit what was found.
    """
    if conditions.trainer:
        from gan_core.workshop.trainer_array import TrainerWorkshop

        TrainerWorkshop(conditions, "cpu")
        return None, ""
    this_isa()
    bring(conditions.code)
    name, scoring = parse_dataset_name(conditions.dataset), conditions.scoring
    images, features = None, ""
    if name.kind in FILE_KINDS:  # read without torch, which takes seconds to load
        root = data_folder(conditions.data_root or None, name.kind)
        size, skip = conditions.image_size_pixels, conditions.skip_corrupt_images
        images = read_image_files(Request(name, root, size, download, skip, tell=on_phase))
        check_objective(conditions.objective, conditions.dataset, images.classes)
        check_classes(structure, images.classes)
        check_size(structure, size or images.train.shape[-1])
        check_images(conditions.dataset, images)
    if not name.is_values and (scoring.features not in FITTED_FEATURES or scoring.inception_weights):
        from gan_core.fidelity.features.extractors import load_extractor
        from gan_core.workshop.workshop import load_data

        dataset = load_data(conditions)
        check_classes(structure, dataset.classes)
        weights = home_path(scoring.inception_weights) if scoring.inception_weights else None
        features = load_extractor(dataset, scoring.features, weights).name
    return images, features
