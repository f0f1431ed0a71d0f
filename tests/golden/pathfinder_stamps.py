"""Hashes of Pathfinder's paddles as Pillow draws and resamples them.

Run with Pillow and NumPy: python pathfinder_stamps.py > pathfinder_stamps.txt
A line for each size and margin: SHA-256 over stroke and mask of all whole degrees.
"""

import hashlib
import math

import numpy
from PIL import Image, ImageDraw

# Side, paddle length, thickness, margins: LRA's four sizes.
SIZES = [(32, 2, 0.5, [1]), (64, 5, 1, [1]), (128, 5, 1.5, [2, 3]), (256, 5, 2, [3])]
SCALE = 2


def dilate(picture, radius):
    """The largest value within a disc around each pixel."""
    padded = numpy.pad(picture, radius)
    n = len(picture)
    disc = range(-radius, radius + 1)
    shifts = [(y, x) for y in disc for x in disc if y * y + x * x <= radius * radius]
    shifted = [padded[radius + y :, radius + x :][:n, :n] for y, x in shifts]
    return numpy.max(shifted, axis=0)


def stamp(length, thickness, margin, degree):
    reach = length + math.ceil(thickness) + margin
    middle = reach * SCALE
    angle = degree * numpy.pi / 180
    x = math.ceil(middle + length * SCALE * numpy.cos(angle))
    y = math.ceil(middle + length * SCALE * numpy.sin(angle))
    canvas = Image.new("F", (2 * middle + 1,) * 2)
    ends = [(middle, middle), (x, y)]
    ImageDraw.Draw(canvas).line(ends, fill=255, width=round(thickness * SCALE))
    stroke = numpy.array(canvas).astype(numpy.uint8)
    side = 2 * reach + 1
    for picture in [stroke, dilate(stroke, margin * SCALE)]:
        small = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
        yield numpy.array(small).tobytes()


for side, length, thickness, margins in SIZES:
    for margin in margins:
        digest = hashlib.sha256()
        for degree in range(-180, 180):
            for part in stamp(length, thickness, margin, degree):
                digest.update(part)
        print(side, margin, digest.hexdigest())
