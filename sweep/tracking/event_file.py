"""TensorBoard's event files, written by hand: records of its protocol buffers, of which a sweep needs six.

Source: TensorFlow's record_writer (framing), and the event, summary and hparams `.proto` files (field numbers).
tensorboardX, which comes with Ray, writes the same; but importing it imports torch wherever torch is installed: two
seconds and half a gigabyte in the study's process, which needs none. And it has a queue and a thread a file, so that
nobody knows what of a row was written when.
"""

import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers
HEAD_BYTES, TAIL_BYTES = 12, 4  # of a record: its length with a checksum; the checksum of its content
SUCCESS, FAILURE = 1, 2  # of hparams' Status
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # a PNG's colour type -> what TensorBoard is told
CASTAGNOLI = 0x82F63B78


def _checksum_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (CASTAGNOLI if value & 1 else 0)
        table.append(value)
    return tuple(table)


CHECKSUMS = _checksum_table()


def masked_checksum(content: bytes) -> int:
    """CRC-32C of the content (RFC 3720), rotated and shifted as records want it. Takes about 0.1 s a megabyte."""
    table, crc = CHECKSUMS, 0xFFFFFFFF
    for byte in content:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(content: bytes) -> bytes:
    """The content framed, as it stands in a file."""
    length = struct.pack("<Q", len(content))
    return b"".join(
        (length, struct.pack("<I", masked_checksum(length)), content, struct.pack("<I", masked_checksum(content)))
    )


def whole_records(path: Path) -> tuple[int, int]:
    """How many whole records a file has, and where they end, in bytes: a killed writer may have left part of one, and a
    power cut zeros.
    """
    count = end = 0
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        while len(head := file.read(HEAD_BYTES)) == HEAD_BYTES:
            length, checksum = struct.unpack("<QI", head)
            if checksum != masked_checksum(head[:8]) or end + HEAD_BYTES + length + TAIL_BYTES > size_bytes:
                break
            end += HEAD_BYTES + length + TAIL_BYTES
            count += 1
            file.seek(end)
    return count, end


def file_version(wall_seconds: float) -> bytes:
    """The event that a file begins with."""
    return _double(1, wall_seconds) + _text(3, "brain.Event:2")


def event(wall_seconds: float, step: int, values: list[bytes]) -> bytes:
    """Everything that is logged of one step, as one event: a reader sees all of it or nothing."""
    return _double(1, wall_seconds) + _number(2, step) + _message(5, b"".join(_message(1, value) for value in values))


def scalar(tag: str, value: float) -> bytes:
    """A number under a tag; kept in single precision."""
    return _scalar_head(tag) + struct.pack("<f", value)


@cache
def _scalar_head(tag: str) -> bytes:
    return _text(1, tag) + _key(2, FIXED32)


def picture(tag: str, png: bytes) -> bytes:
    """A PNG file's content under a tag. Its size and colours stand in its first chunk."""
    width, height, _, colours = struct.unpack_from(">IIBB", png, 16)
    shape = _number(1, height) + _number(2, width) + _number(3, PNG_CHANNELS[colours])
    return _text(1, tag) + _message(4, shape + _message(4, png))


def session_start(hyperparameters: Mapping[str, Any], start_seconds: float) -> bytes:
    """A line of the HParams tab. Values: numbers, texts, truth values; others as text."""
    entries = b"".join(_message(1, _text(1, name) + _message(2, _value(v))) for name, v in hyperparameters.items())
    return _hparams("session_start_info", _message(3, entries + _double(5, start_seconds)))


def session_end(status: int, end_seconds: float) -> bytes:
    """How such a line ended: SUCCESS or FAILURE."""
    return _hparams("session_end_info", _message(4, _number(1, status) + _double(2, end_seconds)))


def _hparams(name: str, content: bytes) -> bytes:
    plugin = _text(1, "hparams") + _message(2, content)
    return _text(1, f"_hparams_/{name}") + _message(9, _message(1, plugin))


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return _number(4, int(value))
    if isinstance(value, int | float):
        return _double(2, float(value))
    return _text(3, str(value))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _number(field: int, value: int) -> bytes:
    return _key(field, VARINT) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _key(field, FIXED64) + struct.pack("<d", value)


def _message(field: int, content: bytes) -> bytes:
    return _key(field, BYTES) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())
