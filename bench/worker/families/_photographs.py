"""Reads a folder of photographs as normalised crops for an image model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.worker.families import _input_files
from bench.worker.families._input_files import refused
from bench.worker.feeds import Array
from bench.worker.refusal import Refusal

CHECKED = ("astronaut", "camera", "coffee", "coins", "grass", "moon", "retina", "rocket")
"""The photographs in scikit-image's data folder that outputs are checked with; half of them are in colour."""
CALIBRATION = ("brick", "cell", "chelsea", "gravel", "hubble_deep_field", "ihc", "motorcycle_left", "motorcycle_right")
"""The photographs for calibration. The other files of that folder are drawings, text and test patterns."""

# ImageNet's mean and deviation by channel, with which published classifiers are trained.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

Prepare = Callable[[Image.Image], Array]
"""Converts an RGB picture to float32 (channels, height, width)."""


def checked(folder: Path) -> list[Path]:
    """The photographs to check outputs with."""
    # In a folder of the user every second file is for checks, and the others are for calibration.
    return _named(folder, CHECKED) or _all(folder)[::2]


def calibration(folder: Path) -> list[Path]:
    """The photographs to calibrate with: others than those of `checked`, unless the folder has a single one."""
    return _named(folder, CALIBRATION) or _all(folder)[1::2] or _all(folder)


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    # Sorted, because the order of a folder differs between file systems.
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    by_name = {path.stem: path for path in files if path.suffix.lower() in SUFFIXES}
    return [by_name[name] for name in names] if set(names) <= set(by_name) else []


def _all(folder: Path) -> list[Path]:
    files = folder.iterdir() if folder.is_dir() else [folder]
    paths = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise refused(f"no photographs in {folder.name}", "give a folder of files like .jpg or .png")
    return paths


def crops(photographs: Sequence[Path], count: int, prepare: Prepare) -> Array:
    """`count` different pictures, float32 (count, channels, height, width): whole photographs first, then crops."""
    # Half of the photographs are grey, and preprocessors expect three channels.
    opened = [_input_files.picture(path, "RGB") for path in photographs]
    turns = (divmod(index, len(opened)) for index in range(count))
    pictures = [prepare(_random_crop(opened[photograph], step)) for step, photograph in turns]
    shapes = sorted({picture.shape for picture in pictures})
    if len(shapes) > 1:
        message = f"the model's own preprocessing makes pictures of {len(shapes)} shapes, e.g. {shapes[0]}, {shapes[1]}"
        raise Refusal("unsupported", message, "set a fixed size and a crop in preprocessor_config.json", "other-shapes")
    return np.stack(pictures)


def _random_crop(image: Image.Image, step: int) -> Image.Image:
    """The whole image at step 0; else a seeded square crop with 40 to 90 % of its shorter side."""
    if step == 0:
        return image
    # The step is the seed, so that every machine gets the same crops.
    scale, across, down = np.random.Generator(np.random.PCG64(step)).random(3)
    side = int(min(image.size) * (0.4 + 0.5 * scale))
    left, top = int((image.width - side) * across), int((image.height - side) * down)
    return image.crop((left, top, left + side, top + side))


def imagenet(image: Image.Image, sides: tuple[int, int], channels: int) -> Array:
    """Resize and crop the centre as is usual for ImageNet, and normalise: float32 (channels, height, width).

    The crop leaves at least 1/16 of each side at each edge. If there are not three channels, each is the grey picture.
    """
    down, across = sides
    ratio = max(down / 0.875 / image.height, across / 0.875 / image.width)
    width, height = max(across, round(image.width * ratio)), max(down, round(image.height * ratio))
    left, top = (width - across) // 2, (height - down) // 2
    crop = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + across, top + down))
    if channels != 3:
        grey = (np.asarray(crop.convert("L"), np.float32) / 255 - 0.5) / 0.25
        return np.stack([grey] * channels)
    pixels = (np.asarray(crop, np.float32) / 255 - MEAN) / DEVIATION
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
