"""Pictures of samples in a page: those beside the verdict, those of typical failures, and small ones of the trials."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from results.report.runs import ReportedRun
from results.rows import DEAD
from results.store import ResultsError
from results.table import ResultsTable
from results.trial_run import TrialRun

BEST = 20  # trials whose pictures come first
LARGE_PIXELS, SMALL_PIXELS, LEAST_PIXELS = 520, 256, 128  # the longest side of a picture in the page
FEW, MANY = 150, 400  # up to so many trials, their pictures are small or middling; beyond, they are the least
MOST_PICTURES = 600  # of trials in a page; reading more takes long, and they would not fit
MOST_ENLARGED = 64  # times, as a sweep draws the smallest images
QUALITY = 70  # of WebP, where a picture is no small one


@dataclass(frozen=True)
class Picture:
    """A picture in a page. url: `data:...`, which is no request. pixels: its width and height."""

    url: str
    pixels: tuple[int, int]


def large(path: Path) -> Picture | None:
    """A picture to look at, as it was drawn; None where there is none."""
    opened = _opened(path)
    return None if opened is None else _encoded(opened, LARGE_PIXELS)


def small_picture(path: Path) -> Picture | None:
    """A picture to look at beside many; None where there is none."""
    opened = _opened(path)
    return None if opened is None else _encoded(opened, SMALL_PIXELS)


def small(paths: Iterable[tuple[int, Path]], count: int, most_characters: int) -> dict[int, str]:
    """Trial -> URL of its picture, for as many trials as fit, in this order. count: how many trials there are, on which
    the size depends.
    """
    side = SMALL_PIXELS if count <= FEW else (SMALL_PIXELS + LEAST_PIXELS) // 2 if count <= MANY else LEAST_PIXELS
    found, left = dict[int, str](), most_characters
    for trial, path in paths:
        opened = _opened(path)
        if opened is None:
            continue
        url = _encoded(opened, side).url
        if len(url) > left:
            break
        left -= len(url)
        found[trial] = url
    return found


def trial_pictures(run: ReportedRun, trials: Sequence[int]) -> list[tuple[int, Path]]:
    """The pictures that these trials have in the folder of the run, fetched where it lives in a store."""
    paths = [(trial, run.folder.trial_samples(TrialRun(trial, 0))) for trial in trials[:MOST_PICTURES]]
    run.pictures([path for _, path in paths])
    return [(trial, path) for trial, path in paths if path.is_file()]


def by_interest(table: ResultsTable, typical: Sequence[tuple[int, str]]) -> list[int]:
    """The trials in the order in which their pictures are wanted: the best, trial 0, typical failures, and the rest
    from the best to the worst.
    """
    trials = table.trials["trial"].tolist()
    return list(dict.fromkeys([*trials[:BEST], *({0} & set(trials)), *(number for number, _ in typical), *trials]))


def failures(table: ResultsTable) -> list[tuple[int, str]]:
    """Typical failures, as a trial and what is typical of it: for each way to die and each sign of trouble, the trial
    in the middle of those that show it, by their score. Trials without a score have no picture, and are left out.
    """
    trials: Any = table.trials
    scored = trials[trials["score"].notna()].sort_values("score")
    kinds = {outcome.replace("_", " "): scored[scored["outcome"] == outcome] for outcome in map(str, DEAD)}
    signs = scored["signs"].str.split().explode().dropna()
    kinds |= {sign.replace("_", " "): scored.loc[signs.index[signs == sign]] for sign in sorted(set(signs))}
    found: dict[int, str] = {}
    for kind, rows in kinds.items():
        free = rows[~rows["trial"].isin(found)]
        if len(free):
            found[int(free["trial"].iloc[len(free) // 2])] = kind
    return list(found.items())


def _opened(path: Path) -> Image.Image | None:
    """A picture as it was before it was enlarged by a whole factor; None if there is none. Raises ResultsError for a
    file that is no picture.
    """
    try:
        with Image.open(path) as opened:
            pixels = np.asarray(opened.convert("RGB" if opened.mode not in ("L", "1") else "L"))
    except FileNotFoundError:
        return None
    except (OSError, Image.DecompressionBombError) as error:
        raise ResultsError(f"{path} is no picture that can be read; restore or remove it") from error
    for factor in range(MOST_ENLARGED, 1, -1):
        if pixels.shape[0] % factor == pixels.shape[1] % factor == 0:
            few = pixels[::factor, ::factor]
            if np.array_equal(few.repeat(factor, 0).repeat(factor, 1), pixels):
                return Image.fromarray(few)
    return Image.fromarray(pixels)


def _encoded(picture: Image.Image, side: int) -> Picture:
    """A picture of at most `side` pixels on each side: exact where it is small enough for the large side, else WebP."""
    exact = max(picture.size) <= side
    if not exact:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, format="WEBP", lossless=exact and side == LARGE_PIXELS, quality=QUALITY, method=2)
    url = "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
    return Picture(url, picture.size)
