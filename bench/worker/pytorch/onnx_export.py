"""Exports an encoder or classifier to ONNX, and keeps an export only if it answers as PyTorch does at other shapes."""

from __future__ import annotations

import importlib.util
import inspect
import shutil
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.records import CPU_PROVIDER, Note, note
from bench.shared.native_errors import plain
from bench.worker.feeds import Array, Feed
from bench.worker.pytorch.encoders import Encoding
from bench.worker.refusal import Refusal

MODEL, WEIGHTS = "model.onnx", "model.onnx_data"
PROTOBUF_LIMIT_BYTES = 2**31 - 1
"""A larger model cannot be a single file: its weights are in a second one."""
MAX_RELATIVE_ERROR = 1e-3
"""An export with a larger error computes something else. Right ones have 1e-6, and the row judges what lies between."""
REASON_LENGTH = 200
Axes = dict[str, dict[int, str]]
"""By input or output, the names of its symbolic dimensions by position."""
Write = Callable[[Path], None]


def export(module: Encoding, axes: Axes, feeds: Sequence[Feed], out: Path, opset: int) -> tuple[Note, ...]:
    """Write `out/model.onnx` with the first exporter whose graph is right, and note which one that was.

    The first of `feeds` is the example for tracing; the graph must answer all others, of other shapes, as `module`
    does. Raises Refusal with each exporter's reason where none is right.
    """
    feeds = [{name: feed[name] for name in module.inputs} for feed in feeds]
    with torch.inference_mode():
        checks = [(feed, _answers(module, feed)) for feed in feeds[1:]]
    names = tuple(checks[0][1])
    reasons = []
    for exporter, write in _exporters(module, axes, feeds[0], names, opset):
        with tempfile.TemporaryDirectory(dir=out) as folder:
            path = Path(folder) / MODEL
            reason = _write(write, path) or _difference(path, checks)
            if not reason:
                for file in sorted(Path(folder).iterdir()):
                    shutil.move(file, out / file.name)
                return (note("exported-by", exporter=exporter),)
        reasons.append(f"{exporter}: {textwrap.shorten(reason, REASON_LENGTH, placeholder=' …')}")
    message = f"no exporter writes a right graph of {type(module.model).__name__}: {'; '.join(reasons)}"
    raise Refusal("unsupported", message, "measure it with PyTorch, or name an ONNX file of it: onnx:FILE", "export")


def _exporters(
    module: Encoding, axes: Axes, example: Feed, names: tuple[str, ...], opset: int
) -> Iterator[tuple[str, Write]]:
    """The exporters in the order in which they are tried, by name."""
    yield "torch.onnx (TorchScript)", lambda path: _torchscript(module, axes, example, names, path, opset)
    # In pieces, because a runtime of the user may lack what the newer exporter needs.
    if importlib.util.find_spec("onnxscript"):
        yield "torch.onnx (dynamo)", lambda path: _dynamo(module, axes, example, names, path, opset)


# --- exporters --------------------------------------------------------------------------------------------------------


def _write(write: Write, path: Path) -> str:
    """Why an exporter failed; empty if it wrote a file."""
    try:
        # Exporters warn of what a graph might get wrong; whether it does is checked.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(path)
    except Exception as error:  # noqa: BLE001 - the next exporter is tried, and all reasons are reported
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return _words(cause)
    return ""


def _words(error: BaseException) -> str:
    """The whole text of an error in one line, with its class: its first line alone may only announce the reason."""
    return f"{type(error).__name__}: {plain(' '.join(str(error).split()))}"


class _Positional(nn.Module):  # type: ignore[misc]
    """A module with its inputs by position and its outputs as a tuple, as exporters need them."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs in the order of their names."""
        return tuple(self.module(**dict(zip(self.names, tensors, strict=True))).values())


def _torchscript(module: Encoding, axes: Axes, example: Feed, names: tuple[str, ...], path: Path, opset: int) -> None:
    with _plain_attention(module.model), _traceable_functions(), torch.no_grad():
        torch.onnx.export(
            _Positional(module, module.inputs).eval(),
            tuple(map(torch.from_numpy, example.values())),
            path,
            input_names=list(module.inputs),
            output_names=list(names),
            dynamic_axes={name: axes[name] for name in (*module.inputs, *names)},
            opset_version=opset,
            dynamo=False,
        )
    _gather_weights(path)


@contextmanager
def _plain_attention(model: nn.Module) -> Iterator[None]:
    """Let a model of transformers compute attention by plain operators, where its class can.

    Of PyTorch's fused attention TorchScript makes a graph that looks for NaN in each layer. Measured with MiniLM on one
    core: 351 nodes and 1.09 times the time, for 267 nodes.
    """
    from transformers import PreTrainedModel

    models = [
        each for each in model.modules() if isinstance(each, PreTrainedModel) and each._can_set_attn_implementation()
    ]
    before = [each.config._attn_implementation for each in models]
    for each in models:
        each.set_attn_implementation("eager")
    try:
        yield
    finally:
        for each, implementation in zip(models, before, strict=True):
            each.set_attn_implementation(implementation)


def _without_vmap(function: Callable[..., object]) -> Callable[..., object]:
    """The function of transformers that makes masks, by broadcasting: TorchScript cannot trace `torch.vmap`."""

    def mask(*args: object, **options: object) -> object:
        return function(*args, **{name: value for name, value in options.items() if name != "use_vmap"})

    return mask


TRACEABLE: dict[tuple[str, str], Callable[[Callable[..., object]], object]] = {
    # Computes with a length in Python: transformers 4 compiled it for TorchScript, and 5 does not.
    ("transformers.models.deberta.modeling_deberta", "compute_attention_span"): torch.jit.script,
    # The mask of EmbeddingGemma.
    ("transformers.masking_utils", "sdpa_mask"): _without_vmap,
}
"""By module and name, what makes of a function of transformers one that TorchScript keeps for other sizes."""


@contextmanager
def _traceable_functions() -> Iterator[None]:
    """Replace the functions of `TRACEABLE`, as far as they are loaded, while a model is traced."""
    before = [
        (module, name, function)
        for path, name in TRACEABLE
        if (module := sys.modules.get(path)) and inspect.isfunction(function := getattr(module, name, None))
    ]
    for module, name, function in before:
        setattr(module, name, TRACEABLE[module.__name__, name](function))
    try:
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)


def _dynamo(module: Encoding, axes: Axes, example: Feed, names: tuple[str, ...], path: Path, opset: int) -> None:
    dynamic = tuple(dict.fromkeys(axes[name], torch.export.Dim.DYNAMIC) for name in module.inputs)
    with torch.no_grad():
        torch.onnx.export(
            _Positional(module, module.inputs).eval(),
            tuple(map(torch.from_numpy, example.values())),
            path,
            input_names=list(module.inputs),
            output_names=list(names),
            dynamic_shapes={"tensors": dynamic},
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    _rename_axes(path, axes)
    _gather_weights(path)


def _rename_axes(path: Path, axes: Axes) -> None:
    """Give the symbolic dimensions their names, and drop the shapes inside, which quantizers change and then refuse."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        for position, name in axes[value.name].items():
            value.type.tensor_type.shape.dim[position].dim_param = name
    path.write_bytes(model.SerializeToString())


def _gather_weights(path: Path) -> None:
    """One file for graph and weights, or one for each where the model is too large for that."""
    import onnx

    beside = [file for file in path.parent.iterdir() if file != path]
    if not beside:
        return
    model = onnx.load(path)
    large = sum(file.stat().st_size for file in beside) + path.stat().st_size > PROTOBUF_LIMIT_BYTES
    for file in beside:
        file.unlink()
    onnx.save_model(model, path, save_as_external_data=large, location=WEIGHTS)


# --- the check --------------------------------------------------------------------------------------------------------


def _answers(module: nn.Module, feed: Feed) -> Feed:
    outputs = module(**{name: torch.from_numpy(array) for name, array in feed.items()})
    return {name: value.numpy() for name, value in outputs.items()}


def _difference(path: Path, checks: Sequence[tuple[Feed, Feed]]) -> str:
    """What is wrong with the graph in a file; empty if it answers each feed with the answers beside it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    # The graph as it was written: what an optimization does to it is for the row to show.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(path, options, providers=[CPU_PROVIDER])
        taken = [value.name for value in session.get_inputs()]
        if unknown := [name for name in taken if name not in checks[0][0]]:
            return f"the graph asks for {', '.join(unknown)} besides"
        names = [value.name for value in session.get_outputs()]
        if lacking := [name for name in checks[0][1] if name not in names]:
            return f"the graph has no output {', '.join(lacking)}"
        for feed, expected in checks:
            outputs = session.run(list(expected), {name: feed[name] for name in taken})
            for (name, reference), actual in zip(expected.items(), outputs, strict=True):
                if fault := _fault(reference, actual, feed.get("attention_mask")):
                    sizes = " x ".join(map(str, next(iter(feed.values())).shape[: 2 if "input_ids" in feed else 1]))
                    return f"{name} {fault} at the size {sizes}"
    except Exception as error:  # noqa: BLE001 - a graph that ONNX Runtime cannot run is a wrong one
        return f"ONNX Runtime cannot run it: {_words(error)}"
    return ""


def _fault(expected: Array, actual: Array, mask: Array | None) -> str:
    if expected.shape != actual.shape:
        return f"has the shape {actual.shape}, and not {expected.shape}"
    if mask is not None and expected.shape[:2] == mask.shape:
        # What a model computes at padding is read by nobody.
        expected, actual = expected[mask > 0], actual[mask > 0]
    if not np.isfinite(expected).all():
        return "is not finite in PyTorch"
    error = np.linalg.norm(np.asarray(actual, np.float64) - expected)
    scale = float(np.linalg.norm(np.asarray(expected, np.float64)))
    # Also true for NaN.
    if not error <= MAX_RELATIVE_ERROR * scale:
        return f"differs from PyTorch's by {error / scale if scale else error:.1%}"
    return ""
