"""The family of users' own ONNX files; inputs are made from the shapes and types that the file declares."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bench.records import FamilyManifest, Note, Source, TaskOptions, Tolerance, note
from bench.shared.native_errors import brief
from bench.worker.families import _onnx_graph
from bench.worker.families._onnx_inputs import OnnxInputs
from bench.worker.feeds import Feed
from bench.worker.refusal import Refusal

if TYPE_CHECKING:
    from bench.worker.labelled.sets import LabelledSet

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
    labelled=("classes", "pairs", "rankings"),
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


def load(source: Source) -> NoReturn:
    """Raise ValueError: an ONNX file has no PyTorch module."""
    raise ValueError(f"{Path(source.path).name} is an ONNX file: there is no PyTorch model of it to run")


def export(source: Source, out: Path, opset: int) -> tuple[Note, ...]:
    """Copy the file and its external data unchanged, with notes on what it holds. ValueError where it is no model."""
    from bench.worker.formats import _onnx_facts as facts
    from bench.worker.formats import _onnx_files as files

    path = Path(source.path)
    model = _onnx_graph.read(path)
    files.copy(path, model, out)
    with _onnx_graph.with_open_sizes(path) as runnable:
        if runnable != path:
            shutil.copyfile(runnable, out / "model.onnx")
    version = files.opset(model)
    return (*(() if version is None else (note("opset-of-file", opset=version),)), *facts.notes(model))


def make_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
    """Batches of the user's data, else of seeded noise, at least eight samples in all.

    Raises Refusal for data or sizes that the graph does not take, and for inputs that cannot be made up.
    """
    return OnnxInputs(source, sizes, inputs).checked()


def calibration(source: Source, inputs: str | None, workloads: Sequence[dict[str, int]] = ()) -> list[Feed]:
    """Other samples, or noise of other seeds, of the sizes of each workload in turn.

    The batch size is 1, or the one that the file fixes.
    """
    batches = [sized.calibration() for sized in OnnxInputs(source, {}, inputs).one_sample_of(workloads)]
    return [batches[index % len(batches)][index] for index in range(min(map(len, batches)))]


def describe_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[Note, ...]:
    """Notes on noise, on assumed sizes, on guessed integers, and on the samples that a call counts."""
    return OnnxInputs(source, sizes, inputs).notes()


def reference(source: Source, feeds: list[Feed]) -> tuple[list[Feed], str]:
    """The outputs of the file on the CPU without graph optimizations, and a description of how."""
    import onnxruntime as ort

    from bench.worker.formats import _onnx_files as files

    # The reference is the file as it is written: an optimization may change its results.
    with _onnx_graph.with_open_sizes(Path(source.path)) as path:
        session, optimizations = files.open_on_cpu(path, Path(source.path).name)
    names = [output.name for output in session.get_outputs()]
    outputs = [dict(zip(names, _run(session, names, feed), strict=True)) for feed in feeds]
    return outputs, f"onnxruntime {ort.__version__}, CPU, {optimizations}"


def _run(session: Any, names: list[str], feed: Feed) -> list[Any]:
    """The outputs by position, short floats as FP32. Raises Refusal where ONNX Runtime does not take the inputs."""
    from bench.worker.onnx_runtime import edge_values

    try:
        outputs = edge_values.run(session, names, feed)
    # onnxruntime has a class for each status, and no common one.
    except Exception as error:
        reason = brief(str(error)) or type(error).__name__
        fed = ", ".join(f"{name} {array if array.size == 1 else list(array.shape)}" for name, array in feed.items())
        message = f"ONNX Runtime cannot run the file with {fed}: {reason}"
        remedy = "give its sizes in the workload, and its values or real data in inputs"
        raise Refusal("unsupported", message, remedy, "inputs") from error
    return outputs


def comparable(outputs: Feed, feed: Feed) -> Feed:
    """Every output as it is; `bench.worker.onnx_outputs` says where its samples are."""
    return {name: array if array.ndim else array[None] for name, array in outputs.items()}


def labelled(source: Source, sizes: dict[str, int], task: TaskOptions) -> LabelledSet:
    """Every labelled sample, made as the model's table `inputs` says. Raises Refusal for data that do not fit."""
    from bench.worker.labelled import onnx_samples

    return onnx_samples.labelled(source, sizes, task)
