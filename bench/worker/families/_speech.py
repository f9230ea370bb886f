"""Reads clips of speech at 16 kHz with their transcripts from WAV files, or generates seeded sounds."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.worker.families._input_files import refused
from bench.worker.feeds import Array

RATE = 16000
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""Formants of five vowels in Hz: the resonances of the vocal tract (Peterson and Barney, 1952)."""


@dataclass(frozen=True)
class Clip:
    """Samples from -1 to 1 at 16 kHz, float32, and their transcript if it is known."""

    samples: Array
    label: str | None = None

    def cut(self, seconds: int) -> Clip:
        """The first `seconds`, padded with silence. A clip that is shortened loses its label, which no longer fits."""
        length = seconds * RATE
        samples = np.pad(self.samples[:length], (0, max(0, length - len(self.samples))))
        return Clip(samples, self.label if len(self.samples) <= length else None)


@dataclass(frozen=True)
class Speaker:
    """A synthetic voice: its pitch in Hz, the ratio of its formants to the average, and its random generator."""

    pitch: float
    tract: float
    noise: np.random.Generator


def clips(folder: Path) -> list[Clip]:
    """The WAV files of a folder in the order of their names, with the text of their `.txt` files, if any."""
    return [Clip(_read(path), _label(path.with_suffix(".txt"))) for path in files(folder)]


def files(folder: Path) -> list[Path]:
    """The WAV files of a folder in the order of their names, or the file itself. Raises Refusal where there is none."""
    held = folder.iterdir() if folder.is_dir() else [folder]
    paths = sorted(path for path in held if path.suffix.lower() == ".wav")
    if not paths:
        raise refused(f"no WAV files in {folder.name}", "give one, or a folder of them, 16-bit mono at 16 kHz")
    return paths


def _read(path: Path) -> Array:
    """The samples of a WAV file. Raises ValueError if its format is not Whisper's: 16-bit mono at 16 kHz."""
    try:
        with wave.open(str(path), "rb") as file:
            shape = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            frames = file.readframes(file.getnframes())
    # `wave` raises EOFError for a file that ends within its header.
    except (wave.Error, EOFError) as error:
        reason = str(error) or "it ends too early"
        raise refused(f"{path.name} is no WAV file that can be read: {reason}", "save it as 16-bit PCM") from error
    if shape != (1, 2, RATE):
        channels, width, rate = shape
        problem = (
            f"{path.name} has {channels} channels of {8 * width} bits at {rate} Hz; 1 of 16 bits at {RATE} is needed"
        )
        raise refused(problem, f"ffmpeg -i {path.name} -ac 1 -ar {RATE} -sample_fmt s16 out.wav")
    if len(frames) < 2:
        raise refused(f"{path.name} holds no audio", "leave it out")
    # A file that is cut short may end within a sample of two bytes.
    samples: Array = (np.frombuffer(frames[: len(frames) // 2 * 2], "<i2") / 32768).astype(np.float32)
    return samples


def _label(path: Path) -> str | None:
    return path.read_text(encoding="utf-8-sig").strip() or None if path.is_file() else None


def babble(seconds: int, seed: int) -> Clip:
    """Audio like speech: vowels, hisses and pauses of the length of syllables. Equal seeds give equal samples."""
    generator = np.random.Generator(np.random.PCG64(seed))
    speaker = Speaker(generator.uniform(90, 220), generator.uniform(0.8, 1.25), generator)
    parts: list[Array] = []
    while sum(map(len, parts)) < seconds * RATE:
        count = int(generator.uniform(0.08, 0.3) * RATE)
        kind = generator.choice(["vowel", "hiss", "pause"], p=[0.65, 0.2, 0.15])
        sound = {"vowel": _vowel, "hiss": _hiss, "pause": _pause}[str(kind)]
        parts.append(sound(count, speaker) * np.hanning(count) * generator.uniform(0.3, 1))
    samples = np.concatenate(parts)[: seconds * RATE]
    # Rounded to 16 bits, as in a file: this removes differences in rounding between machines.
    return Clip((np.rint(samples / np.abs(samples).max() * 16384) / 32768).astype(np.float32))


def _vowel(count: int, speaker: Speaker) -> Array:
    """Harmonics of a gliding pitch, loud near formants between those of two vowels."""
    start, end = speaker.noise.uniform(0.85, 1.2, 2)
    phase = 2 * np.pi * np.cumsum(speaker.pitch * np.linspace(start, end, count)) / RATE
    first, second = (np.array(VOWELS[index]) for index in speaker.noise.integers(len(VOWELS), size=2))
    formants = speaker.tract * (first + (second - first) * speaker.noise.random())
    harmonics = np.arange(1, int(4000 / speaker.pitch))
    resonance = 1 / (1 + ((harmonics[:, None] * speaker.pitch - formants) / 120) ** 2)
    sound: Array = (resonance.sum(1) / np.sqrt(harmonics)) @ np.sin(harmonics[:, None] * phase)
    return sound


def _hiss(count: int, speaker: Speaker) -> Array:
    """Noise without its low frequencies."""
    return np.diff(speaker.noise.standard_normal(count + 1)) / 4


def _pause(count: int, speaker: Speaker) -> Array:
    """The noise of a room."""
    return speaker.noise.standard_normal(count) / 1000
