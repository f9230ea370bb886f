"""Refuses configurations of another transformers, where this one would ignore a part and compute otherwise."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import transformers
from packaging.version import InvalidVersion, Version

from bench.worker.refusal import Refusal

BASES = {
    "full_attention": ("rope_theta", "global_rope_theta"),
    "sliding_attention": ("local_rope_theta", "rope_local_base_freq"),
}
"""The names of the rotary base of a kind of layers in transformers 4, where its kinds have different ones."""
BESIDE = ("partial_rotary_factor",)
"""Keys of `rope_parameters` that stand beside `rope_theta` in transformers 4."""
EXACT_SCALING = {"phi3": ("type", "short_factor", "long_factor")}
"""Models of transformers 4 whose `rope_scaling` may hold these keys only; the others stand beside it."""
ASSUMED = {"rope_theta": 10000.0, "vision_use_head": True, "swiglu_alpha": 1.702, "swiglu_limit": 7.0}
"""What models of transformers 4 have in their code, where a configuration of version 5 says it."""
REMOVED = {"position_embedding_type": ("absolute",), "rms_norm": (True,)}
"""Keys that models of transformers 4 obey and those of version 5 no longer read, with what the latter compute."""
REPLACED = {"modernbert-decoder": ("sliding_window",)}
"""Keys that a class of transformers replaces by a value of its own: version 4.57 computes the window from a default."""
WRITER = "export it with the transformers that wrote it, and name the file: onnx:FILE"
ROTARY = ("rotary", "rope")
"""What configurations call the positions of a class that has only rotary ones."""
HARMLESS = re.compile(
    r"^_|^scale_decoder|token|label|drop|dtype|init|version|architectures|auto_map|use_cache|checkpointing|task|prun|tie_|problem_type"
    r"|output_|return_|is_decoder|cross_attention|pooler|summary|directionality|finetuning|adapter|language|loss"
    r"|chunk|torchscript|name|model_type|quantization|unsloth|seed|train"
)
"""Keys that change no answer of an encoder or classifier, or no answer of a model in evaluation mode."""


def for_this_version(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json holds, with rotary parameters in the keys that this transformers reads.

    transformers 5 writes base and scaling as `rope_parameters`, by kind of layer where these differ; version 4 reads
    `rope_theta` and `rope_scaling`. What has no key there stays as it is, and `refuse_ignored` names it.
    """
    result = dict(fields)
    if Version(transformers.__version__).major >= 5:
        return result
    for name, value in fields.items():
        if isinstance(value, dict) and "rope_parameters" in value:
            result[name] = for_this_version(value)
    parameters = fields.get("rope_parameters")
    if not isinstance(parameters, dict):
        return result
    kinds = {kind: inner for kind, inner in parameters.items() if isinstance(inner, dict)}
    if not kinds:
        result |= _in_old_keys(parameters, ("rope_theta",))
        exact = EXACT_SCALING.get(str(fields.get("model_type")))
        if exact and result["rope_scaling"]:
            scaling = result["rope_scaling"]
            result |= {key: value for key, value in scaling.items() if key not in (*exact, "rope_type")}
            result["rope_scaling"] = {key: scaling[key] for key in exact if key in scaling}
        return result
    known = _known_to(str(fields.get("model_type")))
    for kind, inner in kinds.items():
        translated = _in_old_keys(inner, tuple(key for key in BASES.get(kind, ()) if key in known)[-1:])
        # Only layers with full attention have a scaling in version 4.
        result |= {key: value for key, value in translated.items() if key != "rope_scaling" or _scales(kind, known)}
    return result


def _in_old_keys(parameters: Mapping[str, Any], bases: tuple[str, ...]) -> dict[str, Any]:
    """Rotary parameters of one kind of layers, with its base under the keys `bases`."""
    scaling = {key: value for key, value in parameters.items() if key not in ("rope_theta", *BESIDE)}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    result = {key: parameters[key] for key in BESIDE if key in parameters}
    result |= {key: parameters["rope_theta"] for key in bases if "rope_theta" in parameters}
    # `default` is no scaling in version 4, and some of its classes refuse the word.
    return result | {"rope_scaling": None if kind == "default" else scaling | {"type": kind}}


def _scales(kind: str, known: set[str]) -> bool:
    return kind == "full_attention" and "rope_scaling" in known


def _known_to(model_type: str) -> set[str]:
    """The arguments of a configuration's class."""
    if model_type not in transformers.CONFIG_MAPPING:
        return set()
    return set(inspect.signature(transformers.CONFIG_MAPPING[model_type].__init__).parameters)


def refuse_ignored(fields: Mapping[str, Any], read: Any) -> None:
    """Refuse a config.json if what transformers `read` from it lacks a part; `fields` is what the file holds.

    transformers 5 writes its rotary parameters into `rope_parameters`, which version 4 ignores without a warning: it
    takes its own default. Version 5 no longer reads some keys of version 4. Other keys are refused by name, if the file
    is of a newer version.
    """
    older = Version(transformers.__version__).major < 5
    for part, config in _parts(fields, read):
        (_refuse_ignored_rope if older else _refuse_lost_base)(part, config)
        _refuse_removed(part, config)
        _refuse_replaced(part, config)
    if not _is_newer(str(fields.get("transformers_version") or "")):
        return
    for part, config in _parts(fields, read):
        if ignored := _ignored(part, config):
            message = (
                f"config.json was written by transformers {fields['transformers_version']}, and transformers "
                f"{transformers.__version__} ignores {', '.join(ignored)} of a {config.model_type} model"
            )
            raise _refusal(message)


def _parts(fields: Mapping[str, Any], read: Any) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """The configuration, and those of its towers: what the file holds, and what was read."""
    yield fields, read
    for name, value in fields.items():
        # Only of tables: transformers 5 gives no value of a key that its layers have different values of.
        if isinstance(value, dict) and isinstance(inner := getattr(read, name, None), transformers.PretrainedConfig):
            yield value, inner


def _refuse_ignored_rope(fields: Mapping[str, Any], read: Any) -> None:
    parameters = fields.get("rope_parameters")
    if not isinstance(parameters, dict):
        return
    if any(isinstance(value, dict) for value in parameters.values()):
        for kind, inner in parameters.items():
            if isinstance(inner, dict):
                # In version 4 the scaling is of the layers with full attention alone.
                scaling = getattr(read, "rope_scaling", None) if kind == "full_attention" else None
                _compare(inner, read, scaling or {}, BASES.get(kind, ()), f"rope_parameters.{kind}")
    else:
        _compare(parameters, read, getattr(read, "rope_scaling", None) or {}, ("rope_theta",), "rope_parameters")


def _compare(
    parameters: dict[str, Any], read: Any, scaling: dict[str, Any], bases: tuple[str, ...], place: str
) -> None:
    for name, value in parameters.items():
        if name in ("rope_theta", "base"):
            is_read = value in [getattr(read, base) for base in bases if hasattr(read, base)][-1:]
        elif name in ("rope_type", "type"):
            is_read = value == scaling.get("rope_type", scaling.get("type", "default"))
        else:
            is_read = value in (None, scaling.get(name), getattr(read, name, None))
        if not is_read:
            version = transformers.__version__
            raise _refusal(f"the config says {name} = {value} in {place}, which transformers {version} ignores")


def _refuse_lost_base(fields: Mapping[str, Any], read: Any) -> None:
    """Refuse a rotary base of a file of version 4 that version 5 gives to only one of two kinds of layers."""
    read_parameters = getattr(read, "rope_parameters", None) or {}
    base = fields.get("rope_theta")
    # A model with a default for each kind has a key for each, and `rope_theta` is not that of the windows.
    if base is None or fields.get("rope_parameters") or isinstance(getattr(read, "default_theta", None), dict):
        return
    for kind, inner in read_parameters.items():
        if isinstance(inner, dict) and inner.get("rope_theta", base) != base:
            what = f"takes {inner['rope_theta']} for {kind} of a {read.model_type}"
            message = f"the config says rope_theta = {base}, and transformers {transformers.__version__} {what}"
            raise _refusal(message, WRITER)


def _refuse_removed(fields: Mapping[str, Any], read: Any) -> None:
    for name, assumed in REMOVED.items():
        value = fields.get(name)
        if value is None or name in _known(read):
            continue
        rotary = ROTARY if name == "position_embedding_type" and hasattr(read, "rope_parameters") else ()
        if value not in (*assumed, *rotary):
            who = f"a {read.model_type} of transformers {transformers.__version__}"
            raise _refusal(f"the config says {name} = {value}, which {who} ignores", WRITER)


def _refuse_replaced(fields: Mapping[str, Any], read: Any) -> None:
    for name in REPLACED.get(str(read.model_type), ()):
        value, taken = fields.get(name), getattr(read, name, None)
        if value is not None and value != taken:
            who = f"a {read.model_type} of transformers {transformers.__version__}"
            raise _refusal(f"the config says {name} = {value}, and {who} takes {taken}", WRITER)


def _is_newer(written: str) -> bool:
    try:
        return Version(written) > Version(transformers.__version__)
    except InvalidVersion:
        return False


def _ignored(part: Mapping[str, Any], config: Any) -> list[str]:
    """The keys of a configuration that its class does not read, and that say something else than it assumes."""
    known = _known(config)
    unknown = {name: value for name, value in part.items() if _says_something(name, value) and name not in known}
    if not unknown:
        return []
    code = _code(config)
    unknown = {name: value for name, value in unknown.items() if not _is_mentioned(name, code)}
    # Many keys of a newer version are what a class here computes from others, such as the width of the last stage.
    without = type(config)(**{name: value for name, value in part.items() if name in known})
    return [name for name, value in unknown.items() if value != _assumed(name, without)]


def _assumed(name: str, config: Any) -> Any:
    """The value of a key that a class does not read: what it computes, or what its model has in its code."""
    if name == "layer_types" and hasattr(config, "global_attn_every_n_layers"):
        every = config.global_attn_every_n_layers
        kinds = ("full_attention", "sliding_attention")
        return [kinds[bool(layer % every)] for layer in range(config.num_hidden_layers)]
    return getattr(config, name, ASSUMED.get(name))


def _known(config: Any) -> set[str]:
    """The keys that a configuration's class reads."""
    names = {*config.attribute_map, *config.attribute_map.values(), *dir(transformers.PretrainedConfig())}
    for base in type(config).__mro__:
        if base is not object and "__init__" in vars(base):
            names |= set(inspect.signature(vars(base)["__init__"]).parameters)
    return names


def _code(config: Any) -> str:
    """The text of the module with a configuration's models; empty where there is none."""
    module = type(config).__module__.replace(".configuration_", ".modeling_")
    try:
        return inspect.getsource(importlib.import_module(module))
    except (ImportError, OSError):
        return ""


def _is_mentioned(name: str, code: str) -> bool:
    """Whether models read a key that their configuration does not declare: it keeps all keys as attributes."""
    return re.search(rf'config(\.{name}\b|, "{name}")', code) is not None


def _says_something(name: str, value: Any) -> bool:
    # `rope_parameters` is compared value by value.
    return value not in (None, False, [], {}, "") and name != "rope_parameters" and not HARMLESS.search(name)


def _refusal(message: str, remedy: str = "") -> Refusal:
    version = transformers.__version__
    newer = f"save the model with transformers {version}, or export it with the newer one and name the file: onnx:FILE"
    return Refusal("unsupported", message, remedy or newer, "newer-config")
