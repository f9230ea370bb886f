"""The family of users' own ONNX files; inputs are made from the shapes and types that the file declares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from bench.records import FamilyManifest, Note, Source, Tolerance, note
from bench.shared.native_errors import brief
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
    sources=("onnx",),
    has_module=False,
    # As for the other families, with wider limits: the model is not known, and its inputs are noise.
    tolerances={
        "fp32": Tolerance(min_cosine=0.99999, max_relative_error=1e-4),
        "fp16": Tolerance(min_cosine=0.999, max_relative_error=0.04),
        "bf16": Tolerance(min_cosine=0.99, max_relative_error=0.1),
        # Of files that are quantized already, whose own answers are the reference: an optimization may move a value
        # to the next step of its scale. They are the limits of the recipes with the same number of bits.
        "int16": Tolerance(min_cosine=0.999, max_relative_error=0.04),
        "fp8": Tolerance(min_cosine=0.97, max_relative_error=0.25),
        "int8": Tolerance(min_cosine=0.97, max_relative_error=0.25),
        "fp4": Tolerance(min_cosine=0.9, max_relative_error=0.4),
        "int4": Tolerance(min_cosine=0.9, max_relative_error=0.4),
        "int2": Tolerance(min_cosine=0.9, max_relative_error=0.4),
    },
)

CHECKED_SAMPLES = 8
CALIBRATION_SAMPLES = 32
# As in the other families: texts of 128 tokens, and pictures of 224 pixels with three channels.
DEFAULT_SIZES = {"seq": 128, "length": 128, "height": 224, "width": 224, "channel": 3}
"""Sizes of symbolic dimensions whose name contains the word, unless the workload gives another."""
FALLBACK_SIZE = 16
"""The size of all other symbolic dimensions."""


def load(source: Source) -> NoReturn:
    """Raise ValueError: an ONNX file has no PyTorch module."""
    raise ValueError(f"{Path(source.path).name} is an ONNX file: there is no PyTorch model of it to run")


def export(source: Source, out: Path, opset: int) -> tuple[Note, ...]:
    """Copy the file and its external data unchanged, with notes on what it holds. ValueError where it is no model."""
    from bench.worker.formats import _onnx_facts as facts
    from bench.worker.formats import _onnx_files as files

    path = Path(source.path)
    model = _read(path)
    files.copy(path, model, out)
    version = files.opset(model)
    return (*(() if version is None else (note("opset-of-file", opset=version),)), *facts.notes(model))


def make_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
    """Batches of seeded noise, at least eight samples in all. Raises ValueError if `inputs` are given."""
    if inputs:
        raise ValueError("an onnx-file makes its inputs from the shapes it declares; it takes no 'inputs'")
    model = _read(Path(source.path))
    count = max(2, -(-CHECKED_SAMPLES // sizes["batch"]))
    return [_feed(model, sizes, seed=index) for index in range(count)]


def calibration(source: Source, inputs: str | None) -> list[Feed]:
    """Noise of other seeds; the batch size is 1, or the one that the file fixes."""
    model = _read(Path(source.path))
    # Seeds that `make_inputs` does not use.
    return [_feed(model, MANIFEST.sizes, seed=1000 + index) for index in range(CALIBRATION_SAMPLES)]


def describe_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[Note, ...]:
    """Notes that the inputs are noise, and which sizes are assumed."""
    shapes = _shapes(_read(Path(source.path)), sizes)
    guessed = {name: size for axes in shapes.values() for name, size, known in axes if not known}
    sizes_assumed = tuple(f"{name}={size}" for name, size in guessed.items())
    return (note("noise"), *((note("assumed-sizes", sizes=sizes_assumed),) if sizes_assumed else ()))


def reference(source: Source, feeds: list[Feed]) -> tuple[list[Feed], str]:
    """The outputs of the file on the CPU without graph optimizations, and a description of how."""
    import onnxruntime as ort

    from bench.worker.formats import _onnx_files as files

    # The reference is the file as it is written: an optimization may change its results.
    session, optimizations = files.open_on_cpu(Path(source.path), Path(source.path).name)
    names = [output.name for output in session.get_outputs()]
    try:
        outputs = [dict(zip(names, session.run(names, feed), strict=True)) for feed in feeds]
    except Exception as error:
        message = f"ONNX Runtime {ort.__version__} opens {Path(source.path).name}, but cannot run it on these inputs: "
        remedy = "give real inputs and their sizes: `inputs` and `workloads` of the model"
        raise Refusal("unsupported", message + brief(str(error)), remedy, "not-run") from error
    return outputs, f"onnxruntime {ort.__version__}, CPU, {optimizations}"


def comparable(outputs: Feed, feed: Feed) -> Feed:
    """Every output; one whose first axis is not that of the inputs' samples counts as a single sample."""
    batch = next((array.shape[0] for array in feed.values() if array.ndim), 1)
    return {name: array if array.shape[:1] == (batch,) else array[None] for name, array in outputs.items()}


def _read(path: Path) -> onnx.ModelProto:
    """The graph, without external weights."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        # Names, types and shapes are enough here, and external weights may be large.
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"{path.name} is truncated, or no ONNX file at all: {error}") from error
    if not model.graph.node:
        raise ValueError(f"{path.name} holds no graph: it is empty, or no ONNX file at all")
    return model


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs without weights, which files of old versions list among them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


Axis = tuple[str, int, bool]
"""A dimension's name, its size, and whether the file or the workload gives that size."""


def _shapes(model: onnx.ModelProto, sizes: dict[str, int]) -> dict[str, list[Axis]]:
    """The shape of every input. Raises ValueError for a batch size or a dimension that the file does not have."""
    declared = {value.name: _dimensions(value) for value in _inputs(model)}
    symbolic = {name for axes in declared.values() for name, size in axes if size is None}
    # A symbolic first dimension is the batch, also where its name is used for other dimensions.
    first = {axes[0][0] for axes in declared.values() if axes and axes[0][1] is None}
    for name in sizes:
        if name != "batch" and name not in symbolic:
            known = ", ".join(sorted(symbolic)) or "none"
            raise ValueError(f"no input has a symbolic dimension {name!r}; there are: {known}")
    if sizes["batch"] > 1 and not first and "batch" not in symbolic:
        raise ValueError(f"batch = {sizes['batch']}, but no input has a symbolic first dimension")
    given = dict.fromkeys(first, sizes["batch"]) | sizes
    return {
        value: [
            (name, size or given.get(name) or _default_size(name), bool(size) or name in given) for name, size in axes
        ]
        for value, axes in declared.items()
    }


def _dimensions(value: onnx.ValueInfoProto) -> list[tuple[str, int | None]]:
    """The name and size of each dimension of an input; the size is None if it is symbolic."""
    if not value.type.HasField("tensor_type"):
        raise ValueError(f"input {value.name!r} is no tensor; only tensors can be made up")
    dims = value.type.tensor_type.shape.dim
    return [
        (dim.dim_param or f"{value.name}[{position}]", dim.dim_value if dim.HasField("dim_value") else None)
        for position, dim in enumerate(dims)
    ]


def _default_size(name: str) -> int:
    return next((size for word, size in DEFAULT_SIZES.items() if word in name.lower()), FALLBACK_SIZE)


def _feed(model: onnx.ModelProto, sizes: dict[str, int], seed: int) -> Feed:
    import onnx

    generator = np.random.Generator(np.random.PCG64(seed))
    limits = _index_limits(model.graph)
    feed: Feed = {}
    types = {value.name: value.type.tensor_type.elem_type for value in _inputs(model)}
    for name, axes in _shapes(model, sizes).items():
        if types[name] in (onnx.TensorProto.STRING, onnx.TensorProto.BFLOAT16):
            kind = onnx.TensorProto.DataType.Name(types[name])
            raise ValueError(f"input {name!r} is of type {kind}, which cannot be made up")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(types[name])
        feed[name] = _noise(generator, [size for _, size, _ in axes], dtype, name, limits.get(name, 2))
    return feed


def _noise(generator: np.random.Generator, shape: list[int], dtype: Any, name: str, limit: int) -> Array:
    """Normally distributed numbers; for integers valid indexes below `limit`, or ones for a mask."""
    if np.issubdtype(dtype, np.floating):
        return np.asarray(generator.standard_normal(shape), dtype)
    # A mask with random values would hide parts of the input.
    if "mask" in name.lower():
        return np.ones(shape, dtype)
    return np.asarray(generator.integers(0, limit, shape), dtype)


def _index_limits(graph: onnx.GraphProto) -> dict[str, int]:
    """The number of rows of the constant table that an input indexes, as token ids do; by the input's name."""
    tables = {tensor.name: tensor.dims for tensor in graph.initializer}
    casts = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    limits: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in tables:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            name = casts.get(node.input[1], node.input[1])
            limits[name] = min(limits.get(name, 1 << 31), tables[node.input[0]][axis])
    return limits
