"""Whether a run that goes on is scored on the same data, and in the same features, as before."""

from collections.abc import Iterable
from pathlib import Path

from gan_core.config.conditions import Conditions
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.limits import limits_text
from gan_core.config.reports import LaneReport
from gan_core.data.carried_images import splits_digest
from gan_core.data.published_images import ImageSplits
from results.rows import ResultRow
from results.store import ResultsError, RunFolder

MEND = "bring back what was there, or begin another run (--out)"


class SharedData:
    """The digest of the data and the protocol of the scores that all rows share, each "" until a row has it."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.digest, self.protocol = folder, "", ""

    def note(self, row: ResultRow) -> None:
        """Takes in a row of the run."""
        self.digest, self.protocol = self.digest or row.data_digest, self.protocol or row.protocol

    def check(self, report: LaneReport) -> LaneReport:
        """Returns the report. Raises ResultsError if it is of other data, or by another protocol, than the rows before:
        no table could hold both, so it must not be recorded.
        """
        digest, protocol = report.fidelity.data_digest, report.fidelity.protocol
        if digest and self.digest and digest != self.digest:
            raise ResultsError(f"{_other_data(self.folder, self.digest, digest, 'the data')}; it has no row")
        if protocol and self.protocol and protocol != self.protocol:
            raise ResultsError(
                f"{self.folder.path} was scored by {self.protocol}, and a cohort is by {protocol} now; {MEND}; it has "
                "no row"
            )
        return report


def check_same_data(
    folder: RunFolder, rows: Iterable[ResultRow], conditions: Conditions, images: ImageSplits | None, features: str
) -> None:
    """Raises ResultsError if the rows of a run were scored on other data than there are now, or in the features of
    another file. It is called before the run goes on.

    images: those of the conditions, if they were read from files, or None. features: the name of the extractor that a
    person provides, or "".
    """
    shared = SharedData(folder)
    for row in rows:
        shared.note(row)
    if images is not None and shared.digest:
        found = _digest(conditions, images)
        if found != shared.digest:
            root = f" in {conditions.data_root}" if conditions.data_root else ""
            raise ResultsError(_other_data(folder, shared.digest, found, f"{conditions.dataset}{root}"))
    limits = limits_text(conditions.scoring.class_kl_limit, conditions.scoring.coverage_limit)
    if shared.protocol.count("/") and shared.protocol.rpartition("/")[2] != limits:
        raise ResultsError(
            f"{folder.path} was scored by an earlier version, in which a broken limit made fidelity larger; go on with "
            "that version, or begin another run (--out)"
        )
    known = shared.protocol.split("/")[1].split("+") if shared.protocol.count("/") else []
    if features and known and features not in known:
        raise ResultsError(
            f"{folder.path} was scored in features {known[0]}, and {_file(conditions)} gives {features} now; {MEND}"
        )


def _other_data(folder: RunFolder, before: str, now: str, what: str) -> str:
    return f"{folder.path} was scored on data of digest {before}, and {what} has {now} now: it changed; {MEND}"


def _file(conditions: Conditions) -> Path | str:
    return conditions.scoring.inception_weights or conditions.scoring.features


def _digest(conditions: Conditions, images: ImageSplits) -> str:
    """The digest of the images at the size at which they are trained."""
    if conditions.image_size_pixels in (0, images.train.shape[-1]):
        return splits_digest(parse_dataset_name(conditions.dataset).kind, images)
    from gan_core.workshop.workshop import load_data  # torch, which resizes

    return load_data(conditions).digest
