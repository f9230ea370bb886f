"""The family of users' own ONNX files; inputs are made from the shapes and types that the file declares."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from bench.records import CPU_PROVIDER, FamilyManifest, Note, Source, Tolerance, note
from bench.shared.native_errors import plain
from bench.worker.families import _onnx_graph
from bench.worker.families._onnx_inputs import OnnxInputs
from bench.worker.feeds import Array, Feed
from bench.worker.refusal import Refusal

if TYPE_CHECKING:
    import onnx

MANIFEST = FamilyManifest(
    task="forward",
    build_runtime="build",
    sizes={"batch": 1},
    labels={"batch": "b"},
    open_sizes=True,
    rates={"samples": ["batch"]},
    opset=18,
    sources=("onnx", "wheel"),
    has_module=False,
    # As for the other families, with wider limits: the model is not known, and its inputs are noise.
    tolerances={
        "fp32": Tolerance(min_cosine=0.99999, max_relative_error=1e-4),
        "fp16": Tolerance(min_cosine=0.999, max_relative_error=0.04),
        "bf16": Tolerance(min_cosine=0.99, max_relative_error=0.1),
    },
)


def load(source: Source) -> NoReturn:
    """Raise ValueError: an ONNX file has no PyTorch module."""
    raise ValueError(f"{Path(source.path).name} is an ONNX file: there is no PyTorch model of it to run")


def export(source: Source, out: Path, opset: int) -> tuple[Note, ...]:
    """Copy the file and its external data unchanged. Raises ValueError if it is not a valid ONNX model."""
    import onnx

    path = Path(source.path)
    model = _onnx_graph.read(path)
    # Sorted, so that an error names the same file each time: sets of texts have no fixed order.
    for location in sorted(_external(model)):
        # The file is not trusted: its locations must not name files outside its folder.
        if PurePosixPath(location).is_absolute() or ".." in PurePosixPath(location).parts:
            raise ValueError(f"{path.name} keeps weights outside its own folder: {location}")
        (out / location).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / location, out / location)
    with _onnx_graph.with_open_sizes(path) as runnable:
        shutil.copyfile(runnable, out / "model.onnx")
    try:
        onnx.checker.check_model(out / "model.onnx")
    except onnx.checker.ValidationError as error:
        raise ValueError(f"{path.name} is not a valid ONNX model: {str(error).strip()}") from error
    opset_version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    return () if opset_version is None else (note("opset-of-file", opset=opset_version),)


def make_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
    """Batches of the user's data, else of seeded noise, at least eight samples in all.

    Raises Refusal for data or sizes that the graph does not take, and for inputs that cannot be made up.
    """
    return OnnxInputs(source, sizes, inputs).checked()


def calibration(source: Source, inputs: str | None) -> list[Feed]:
    """Other samples, or noise of other seeds; the batch size is 1, or the one that the file fixes."""
    return OnnxInputs(source, {}, inputs).calibration()


def describe_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[Note, ...]:
    """Notes on noise, on assumed sizes, on guessed integers, and on the samples that a call counts."""
    return OnnxInputs(source, sizes, inputs).notes()


def reference(source: Source, feeds: list[Feed]) -> tuple[list[Feed], str]:
    """The outputs of the file on the CPU without graph optimizations, and a description of how."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    # The reference is the file as it is written: an optimization may change its results.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    with _onnx_graph.with_open_sizes(Path(source.path)) as path:
        session = ort.InferenceSession(path, options, providers=[CPU_PROVIDER])
    names = [output.name for output in session.get_outputs()]
    outputs = [dict(zip(names, _run(session, names, feed), strict=True)) for feed in feeds]
    return outputs, f"onnxruntime {ort.__version__}, CPU, no graph optimizations"


def _run(session: Any, names: list[str], feed: Feed) -> list[Any]:
    """The outputs by position. Raises Refusal where ONNX Runtime does not take the inputs."""
    try:
        outputs: list[Any] = session.run(names, feed)
    # onnxruntime has a class for each status, and no common one.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        if "alloc" in lines[0].lower():  # memory is no fault of the inputs
            raise
        fed = ", ".join(f"{name} {array if array.size == 1 else list(array.shape)}" for name, array in feed.items())
        message = f"ONNX Runtime cannot run the file with {fed}: {plain(lines[0])}"
        remedy = "give its sizes in the workload, and its values or real data in inputs"
        raise Refusal("unsupported", message, remedy, "inputs") from error
    return outputs


def comparable(outputs: Feed, feed: Feed) -> Array:
    """A row for each sample of each output, padded with zeros: a small output counts as much as a large one."""
    batch = next((array.shape[0] for array in feed.values() if array.ndim), 1)
    arrays = [np.asarray(outputs[name], np.float64) for name in sorted(outputs)]
    rows = [array.reshape(batch if array.shape[:1] == (batch,) else 1, -1) for array in arrays]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]))) for row in rows])


def _external(model: onnx.ModelProto) -> set[str]:
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return {entry.value for entry in entries if entry.key == "location"}
