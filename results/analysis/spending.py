"""What a run had spent when each of its rows was recorded."""

from typing import Any

import pandas as pd


def images_trained(frame: pd.DataFrame) -> Any:
    """The real images that each row of a frame of rows adds to those of the row before of the same training, [rows]."""
    before = frame.groupby(["trial", "replicate"])["images_seen"].shift(fill_value=0)
    return (frame["images_seen"] - before).clip(lower=0)


def spent(frame: pd.DataFrame) -> pd.DataFrame:
    """What the search had cost once each of its rows was recorded: the rows of replicate 0, in their order and with
    their index. Columns: `device_seconds` of training and scoring, `images` shown to discriminators.
    """
    search = frame.loc[frame["replicate"] == 0]
    return pd.DataFrame({"device_seconds": search["seconds"].cumsum(), "images": images_trained(search).cumsum()})
