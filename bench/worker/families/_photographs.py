"""Reads a folder of photographs as normalised crops for an image model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.worker.feeds import Array

CHECKED = ("astronaut", "camera", "coffee", "coins", "grass", "moon", "retina", "rocket")
"""The photographs of scikit-image's data folder that outputs are checked with: half of them in colour."""
CALIBRATION = ("brick", "cell", "chelsea", "gravel", "hubble_deep_field", "ihc", "motorcycle_left", "motorcycle_right")
"""The others, for calibration. The rest of that folder is drawings, text and test patterns."""

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

Prepare = Callable[[Image.Image], Array]
"""An RGB picture in, float32 (channels, height, width) out."""


def checked(folder: Path) -> list[Path]:
    """The photographs to check outputs with."""
    return _named(folder, CHECKED) or _all(folder)[::2]


def calibration(folder: Path) -> list[Path]:
    """The photographs to calibrate with: none that `checked` gives, unless the folder holds a single one."""
    return _named(folder, CALIBRATION) or _all(folder)[1::2] or _all(folder)


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    by_name = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    return [by_name[name] for name in names] if set(names) <= set(by_name) else []


def _all(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"no photographs in {folder.name}: expected files like .jpg or .png")
    return paths


def crops(photographs: Sequence[Path], count: int, prepare: Prepare) -> Array:
    """`count` different pictures, float32 (count, channels, height, width): whole ones first, then closer crops."""
    opened = [Image.open(path).convert("RGB") for path in photographs]
    turns = (divmod(index, len(opened)) for index in range(count))
    return np.stack([prepare(_random_crop(opened[photograph], step)) for step, photograph in turns])


def _random_crop(image: Image.Image, step: int) -> Image.Image:
    """The whole image at step 0; then ever new squares of 40 to 90 % of its shorter side, anywhere in it."""
    if step == 0:
        return image
    scale, across, down = np.random.Generator(np.random.PCG64(step)).random(3)
    side = int(min(image.size) * (0.4 + 0.5 * scale))
    left, top = int((image.width - side) * across), int((image.height - side) * down)
    return image.crop((left, top, left + side, top + side))


def imagenet(image: Image.Image, size: int, channels: int) -> Array:
    """Resized so that a centre crop of `size` leaves 1/16 of the shorter side at each edge; normalised as ImageNet is.

    Any other number of channels than three gets the grey picture in each.
    """
    ratio = size / 0.875 / min(image.size)
    width, height = (max(size, round(side * ratio)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    crop = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    if channels != 3:
        grey = (np.asarray(crop.convert("L"), np.float32) / 255 - 0.5) / 0.25
        return np.stack([grey] * channels)
    pixels = (np.asarray(crop, np.float32) / 255 - MEAN) / DEVIATION
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
