"""Reads labelled clips of speech: WAV files with a transcript beside each, or with a file of transcripts."""

from __future__ import annotations

from pathlib import Path

from bench.records import TaskOptions
from bench.worker.families import _speech
from bench.worker.families._input_files import refused
from bench.worker.feeds import Array
from bench.worker.labelled import label_files, texts


def clips(task: TaskOptions, seconds: int) -> tuple[list[Array], list[str]]:
    """The samples of each clip, float32 padded to `seconds` at 16 kHz, and its transcript. Raises Refusal."""
    root = Path(task.inputs)
    paths = _speech.files(root)
    read = _speech.clips(root)
    if task.labels:
        given = label_files.of_pictures(Path(task.labels), paths, root, task.field or "transcript")
        labels: list[str | None] = [str(label) for label in given]
    else:
        labels = [clip.label for clip in read]
    transcripts: list[str] = []
    for path, clip, label in zip(paths, read, labels, strict=True):
        if not label or not texts.words(label):
            raise refused(f"{path.name} has no transcript", f"write it into {path.stem}.txt, or name a file of labels")
        if len(clip.samples) > seconds * _speech.RATE:
            lasts = len(clip.samples) / _speech.RATE
            message = f"{path.name} lasts {lasts:.1f} seconds, and the workload has {seconds}"
            raise refused(message, "give a workload with more audio, or cut the clip and its transcript")
        transcripts.append(label)
    return [clip.cut(seconds).samples for clip in read], transcripts
