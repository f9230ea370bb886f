"""Drafts a small matrix for one model: an ONNX file, a folder of Hugging Face, a GGUF file, or a name on the hub."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench import reading
from bench.declare import registry
from bench.declare.draft_text import Drafted, text_of
from bench.declare.matrix import Matrix, parse
from bench.declare.models import SOURCE_KINDS
from bench.declare.suggest import nearest, similar
from bench.errors import SourceError, UsageError
from bench.shared.onnx_inputs import OnnxInput, read_inputs

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
PLAIN_STEMS = re.compile(r"model.*|pytorch_model.*|encoder_model|decoder_model.*|openvino_model", re.IGNORECASE)
"""Names of files that say nothing of the model; its folder does."""
FAMILIES = {
    "ForCausalLM": "text-generator",
    "LMHeadModel": "text-generator",
    "ForImageClassification": "image-classifier",
}
"""The family of an architecture by the end of its name."""
SPEECH = ("whisper",)
"""Types of models that turn speech into text."""
KINDS = "an ONNX file, a folder with config.json, a .gguf file, or a name on the hub, OWNER/NAME"


class _Model(Struct, frozen=True):
    """What a command line names: the source, without the folder that relative paths start at, and its family."""

    name: str
    kind: str
    rest: str
    """What stands behind the kind; a path of this machine is still as it was given."""
    family: str
    inputs: tuple[OnnxInput, ...] = ()

    @property
    def path(self) -> Path | None:
        """The path of a file or a folder; None for what is fetched or built in."""
        is_path = self.kind in ("path", "onnx") or (self.kind == "config" and self.rest.endswith(".json"))
        return Path(self.rest) if is_path else None


def drafted_matrix(model: str, family: str, cache: Path) -> Matrix:
    """The matrix of `--model`; its sources are relative to the current folder. Raises `UsageError`, `SourceError`."""
    found = _model(model, family, cache)
    text = _text(found, Path())
    # The place is a sentence and no file: what is relative in the text starts at the current folder.
    return parse(text, f"the matrix of --model {found.name}")


def draft(model: str, family: str, cache: Path, out: Path) -> str:
    """The text of a matrix for a file at `out`. Raises `UsageError`, and `SourceError` for a hub without an answer."""
    found = _model(model, family, cache)
    text = _text(found, out.parent)
    parse(text, str(out))
    return text


def _text(model: _Model, root: Path) -> str:
    rest = _from(model.path, root) if model.path else model.rest
    return text_of(Drafted(model.name, model.family, f"{model.kind}:{rest}", model.inputs))


def _from(path: Path, root: Path) -> str:
    """A path as a matrix in `root` names it: relative below it, `~` for the home folder, else absolute."""
    # Not resolved: files beside a link belong to the model.
    absolute = path.expanduser().absolute()
    for folder, prefix in ((root.absolute(), ""), (Path.home(), "~/")):
        if absolute.is_relative_to(folder):
            return prefix + absolute.relative_to(folder).as_posix()
    return absolute.as_posix()


def _model(model: str, family: str, cache: Path) -> _Model:
    word = model.strip()
    if not word:
        raise UsageError("the name of the model is empty", f"name {KINDS}")
    known = registry.families()
    if family and family not in known:
        raise UsageError(f"unknown family '{family}'", nearest(family, known))
    kind, colon, rest = word.partition(":")
    path = Path(word).expanduser()
    if colon and kind in SOURCE_KINDS and rest.strip() and not path.exists():
        return _of_source(kind, rest.strip(), family, cache)
    if path.is_dir():
        return _of_folder(path, family)
    if path.exists():
        return _of_file(path, family)
    if HUB_NAME.fullmatch(word) and path.suffix.lower() not in (".onnx", ".gguf", ".pth", ".json"):
        return _of_source("hub", word, family, cache)
    near = similar(path.name, _names_beside(path))
    hint = f"did you mean '{near[0]}' in that folder?" if near else f"name {KINDS}"
    raise UsageError(f"there is no {word}", hint)


def _names_beside(path: Path) -> list[str]:
    return sorted(other.name for other in path.parent.glob("*")) if path.parent.is_dir() else []


def _of_source(kind: str, rest: str, family: str, cache: Path) -> _Model:
    """A model by a source as a matrix writes it."""
    if kind in ("path", "onnx") or (kind == "config" and rest.endswith(".json")):
        path = Path(rest).expanduser()
        if not path.exists():
            raise UsageError(f"there is no {rest}", f"name {KINDS}")
        return _of_folder(path, family) if path.is_dir() else _of_file(path, family)
    stem = Path(rest.partition("@")[0])
    if kind == "wheel":
        name = _name(
            stem if stem.suffix in (".onnx", ".gguf", ".pth") else Path(rest.partition("=")[0].partition("/")[0])
        )
        by_ending = {".onnx": "onnx-file", ".gguf": "text-generator", ".pth": "image-classifier"}
        return _Model(name, kind, rest, _named(family or by_ending.get(stem.suffix, ""), rest))
    if kind == "config":
        from bench.prepare.model_checks import CONFIGS

        path = CONFIGS / f"{rest}.json"
        if not path.is_file():
            raise UsageError(f"unknown config '{rest}'", nearest(rest, (each.stem for each in CONFIGS.glob("*.json"))))
        return _Model(_name(Path(rest)), kind, rest, family or _family(_config(path), path))
    return _Model(_name(stem), kind, rest, family or _family_on_hub(rest, cache))


def _named(family: str, what: str) -> str:
    if family:
        return family
    raise UsageError(f"it is not known what kind of model {what} is", f"say it with --family, {_families()}")


def _of_folder(folder: Path, family: str) -> _Model:
    config = folder / "config.json"
    if config.is_file():
        return _Model(_name(folder), "path", str(folder), family or _family(_config(config), folder))
    files = sorted(folder.glob("*.onnx"))
    if len(files) == 1:
        return _of_file(files[0], family)
    if files:
        raise UsageError(f"{folder} holds {len(files)} ONNX files", f"name one of them, such as {files[0]}")
    raise UsageError(f"{folder} is no model: it holds neither config.json nor an ONNX file", f"name {KINDS}")


def _of_file(path: Path, family: str) -> _Model:
    reading.check_kind(path, UsageError)
    suffix, name = path.suffix.lower(), _name(path)
    if suffix == ".onnx":
        return _Model(name, "onnx", str(path), family or "onnx-file", _onnx_inputs(path))
    if suffix == ".gguf":
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise UsageError(f"{path} is no GGUF file", "export or download it again")
        return _Model(name, "path", str(path), family or "text-generator")
    if suffix == ".pth":
        return _Model(name, "path", str(path), family or "image-classifier")
    if suffix == ".json":
        return _Model(name, "config", str(path), family or _family(_config(path), path))
    raise UsageError(f"{path} is no model that is known by its ending", f"name {KINDS}")


def _onnx_inputs(path: Path) -> tuple[OnnxInput, ...]:
    try:
        inputs = read_inputs(path)
    except (OSError, ValueError) as error:
        reason = f"{path} is no ONNX model that can be read ({error})"
        raise UsageError(reason, "export or download it again") from None
    if not inputs:
        raise UsageError(f"{path} has no inputs, so there is nothing to measure", "export it with inputs")
    return inputs


def _config(path: Path) -> dict[str, Any]:
    try:
        content = reading.content(path, reading.CONFIG_BYTES, UsageError)
        reading.check_values(path, content, UsageError)
        config = json.loads(content.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON ({error})", "download it again") from None
    if not isinstance(config, dict):
        raise UsageError(f"{path} holds no JSON object", 'a configuration reads like {"model_type": "bert", ...}')
    return config


def _family(config: dict[str, Any], place: Path | str) -> str:
    """The family of a configuration, by its architecture and its type."""
    architectures = config.get("architectures")
    words = [word for word in architectures if isinstance(word, str)] if isinstance(architectures, list) else []
    if config.get("model_type") in SPEECH:
        return "speech-recognizer"
    by_ending = (family for word in words for ending, family in FAMILIES.items() if word.endswith(ending))
    guess = next(by_ending, "text-encoder" if "vocab_size" in config else "")
    return _named(guess, str(place))


def _family_on_hub(name: str, cache: Path) -> str:
    """The family by the configuration on the hub, or of an earlier download. Raises `SourceError`."""
    from bench.prepare.sources.hub import hub_config

    try:
        path = hub_config(name, cache / "sources" / "hub")
    except SourceError as error:
        hint = f"{error.hint}; or say what it is with --family, {_families()}"
        raise SourceError(f"what kind of model {name} is cannot be looked up: {error.message}", hint) from None
    return _family(_config(path), name)


def _families() -> str:
    return ", ".join(registry.families())


def _name(path: Path) -> str:
    """A model's name in a matrix: of a file that is called `model`, the name of its folder."""
    return next(filter(None, (_word(stem) for stem in _stems(path))), "model")


def _stems(path: Path) -> Iterable[str]:
    stem = path.stem if path.suffix.lower() in (".onnx", ".gguf", ".pth", ".json") else path.name
    folder = path.expanduser().absolute().parent.name
    return (folder, stem) if PLAIN_STEMS.fullmatch(stem) else (stem,)


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
