"""Texts as a picture, so that they appear wherever the samples of a trial do."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MOST_LINES, MOST_CHARACTERS = 64, 120  # of a line
MARGIN, LINE_PIXELS = 8, 16
INK, PAPER = 0, 255


def drawn(lines: Sequence[str]) -> np.ndarray:
    """One picture float32 [1, H, W] in [-1, 1] with a line of each text, without its line breaks."""
    font = ImageFont.load_default(size=LINE_PIXELS - 4)
    kept = ["".join(c if c.isprintable() else " " for c in line)[:MOST_CHARACTERS] for line in lines[:MOST_LINES]]
    width = max(int(font.getlength(line)) for line in kept) + 2 * MARGIN
    picture = Image.new("L", (width, len(kept) * LINE_PIXELS + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    for place, line in enumerate(kept):
        draw.text((MARGIN, MARGIN + place * LINE_PIXELS), line, fill=INK, font=font)
    return np.asarray(picture, np.float32)[None] / 127.5 - 1
