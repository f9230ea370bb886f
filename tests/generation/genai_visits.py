"""Exports of tiny models with seeded weights, and visits of them, for tests of what genai makes and runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from visits import CPU, HASTE, a_provider, a_visit

from bench.records import Build, Job, Recipe, Source, Visit
from bench.worker import families, feeds, genai_config, parity_tokens
from bench.worker.artifacts import build
from bench.worker.feeds import Feed

FP32 = Recipe("genai-fp32", number_format="fp32")
CONFIGS = Path(families.__file__).parents[1] / "configs"
TINY = {"text-generator": "llama-tiny", "speech-recognizer": "whisper-nano"}
SIZES = {
    "text-generator": {"batch": 1, "prompt": 24, "new": 12, "context": 0},
    "speech-recognizer": {"batch": 1, "audio": 30, "new": 12},
}


def source_of(family: str) -> Source:
    """The tiny model of a family, with seeded random weights."""
    return Source(kind="config", path=str(CONFIGS / f"{TINY[family]}.json"), weights="random", digest="")


def an_export(out: Path, family: str, recipe: str = "genai-fp32", source: Source | None = None, **options) -> Path:
    """The folder of an export; its notes stand beside it as JSON."""
    out.mkdir(parents=True)
    built = build(Build("genai", family, source or source_of(family), Recipe(recipe, options), str(out)))
    out.with_suffix(".notes").write_bytes(msgspec.json.encode(built.notes))
    return out


def a_reference(out: Path, family: str, **sizes: int) -> tuple[Job, list[Feed], list[Feed]]:
    """A workload, its feeds, and what PyTorch makes of them."""
    module, wanted = families.named(family), SIZES[family] | sizes
    batches = module.make_inputs(source_of(family), wanted, None)
    outputs, by = module.reference(source_of(family), batches, wanted["new"])
    out.mkdir(parents=True)
    feeds.save(out / "inputs.npz", batches)
    feeds.save(out / "outputs.npz", outputs)
    (out / "reference.json").write_text(json.dumps({"by": by}), encoding="utf-8")
    return Job("tiny", wanted, str(out)), batches, outputs


def a_generation(artifact: Path, family: str, engine: str = "genai", **changes) -> Visit:
    """A visit of an export on the CPU."""
    said = {"engine": engine, "family": family, "recipe": FP32, "effort": HASTE}
    return a_visit(artifact, **(said | {"provider": a_provider(CPU)} | changes))


def generated(session, feed: Feed, new: int) -> np.ndarray:
    """The tokens of one generation, int64 of (batch, new)."""
    return np.stack(list(session.begin(feed, new)), axis=1)


def several(feed: Feed, count: int) -> Feed:
    """A batch of rows that differ: the feed's own row, and others made from it."""
    rows = {name: np.repeat(part[:1], count, axis=0) for name, part in feed.items()}
    if "input_features" in rows:
        rows["input_features"] = np.stack([(1 - 0.2 * row) * part for row, part in enumerate(rows["input_features"])])
    else:
        rows["input_ids"] = np.stack([np.roll(part, row) for row, part in enumerate(rows["input_ids"])])
    return rows


def distance(want: np.ndarray, have: np.ndarray) -> float:
    """The largest KL divergence of any position."""
    return float(parity_tokens.kl(want.astype(np.float64), have.astype(np.float64)).max())


def a_copy(export: Path, out: Path, change: Callable[[dict], object]) -> Path:
    """The export with another config."""
    shutil.copytree(export, out)
    config = json.loads((out / genai_config.NAME).read_text(encoding="utf-8"))
    change(config)
    (out / genai_config.NAME).write_text(json.dumps(config), encoding="utf-8")
    return out
