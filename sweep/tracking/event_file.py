"""One of TensorBoard's event files, which several processes may append to, one after another.

The format is tensorboard's own: its protocol buffers, framed by its `RecordWriter`. Its `EventFileWriter` is not used:
it makes a new file each time it is opened, keeps a thread for each open file, and prints a traceback from that thread
when the disk is full.
"""

import struct
import time
from pathlib import Path
from typing import Any

# Generated modules, whose names pyright does not see.
from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer.record_writer import RecordWriter

LENGTH_BYTES, CHECKSUM_BYTES = 8, 4  # a record: length, its checksum, content, its checksum


class EventFile:
    """Opens an event file, or makes it. A record that a killed process left incomplete is cut off.

    events: how many the file has, without the first record, which states the version of the format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        records, end = whole_records(path) if path.exists() else (0, 0)
        with path.open("ab") as file:
            file.truncate(end)
        self.events = max(0, records - 1)
        if records == 0:
            self._write([Event(wall_time=time.time(), file_version="brain.Event:2")])

    def append(self, steps: list[tuple[int, list[Any]]]) -> None:
        """Appends one event for each (step, `Summary.Value` messages): a reader sees all values of a step or none."""
        now = time.time()
        self._write([Event(wall_time=now, step=step, summary=Summary(value=values)) for step, values in steps])
        self.events += len(steps)

    def _write(self, events: list[Any]) -> None:
        with self._path.open("ab") as file:
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())


def whole_records(path: Path) -> tuple[int, int]:
    """The number of complete records in a file, and the byte at which the last one ends.

    Only lengths are read: tensorboard's reader computes checksums in Python, 0.1 s for a megabyte of pictures. No
    event is empty, so a length of 0 is where a power cut left zeros.
    """
    count = end = 0
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        while len(head := file.read(LENGTH_BYTES)) == LENGTH_BYTES:
            (length,) = struct.unpack("<Q", head)
            after = end + LENGTH_BYTES + CHECKSUM_BYTES + length + CHECKSUM_BYTES
            if length == 0 or after > size_bytes:
                break
            count, end = count + 1, after
            file.seek(end)
    return count, end
