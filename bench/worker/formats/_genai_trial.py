"""Runs an export of the genai builder once on the CPU, and refuses one that does not run.

The builder reports no error when it writes an export that cannot run.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from bench.records import Note, note
from bench.shared.native_errors import brief
from bench.worker import genai_config
from bench.worker.failures import reason_of
from bench.worker.formats import _decoder_trial
from bench.worker.onnx_runtime import onnx_protobuf
from bench.worker.refusal import Refusal

NO_KERNEL = re.compile(r"NOT_IMPLEMENTED|Could not find an implementation")
"""How onnxruntime reports that the CPU has no kernel for an operator, in contrast to an invalid graph."""
REMEDIES = {
    ("genai-fp16", "cpu"): 'ep = "cuda" makes one that runs on the CPU as well',
    ("genai-fp32", "cuda"): 'ep = "webgpu" makes one for GPUs that is valid, ep = "cpu" one for all',
    ("genai-fp32", "dml"): 'ep = "webgpu" makes one for GPUs that is valid, ep = "cpu" one for all',
}
"""Remedies for combinations of recipe and target that the builder (0.18) writes wrongly without an error."""


def try_export(out: Path, recipe: str, ep: str) -> tuple[Note, ...]:
    """Run a prompt and further tokens on the CPU, and return notes. Raises Refusal if the export is invalid.

    An export for another target may need kernels that the CPU does not have: then it stays untested, with a note.
    """
    export = genai_config.read(out)
    # Before the run: it would crash this process.
    _refuse_without_bias(export)
    try:
        # The exit code of the builder proves nothing: FP16 and BF16 for the CPU are written without an error.
        logits = _decoder_trial.run(export)
    # A refusal of the decoder has its own reason and remedy.
    except Refusal:
        raise
    except Exception as error:
        reason = brief(reason_of(error))
        # An export for a GPU may use operators that the CPU does not have; that is no fault of the export.
        if ep != "cpu" and NO_KERNEL.search(str(error)):
            return (note("export-untested", ep=ep, text=reason),)
        message = f"the export was written and does not run: {reason}"
        remedy = REMEDIES.get((recipe, ep), "try other options of the recipe")
        raise Refusal("unsupported", message, remedy, "export") from error
    if not np.isfinite(logits).all():
        message = "the export was written, and its logits are not finite"
        raise Refusal("unsupported", message, REMEDIES.get((recipe, ep), "a precision with more range"), "export")
    # The least likely token, so that no text is expected to end.
    genai_config.endless(out, int(logits.sum(axis=0).argmin()))
    return (note("exported-for", ep=ep),) if ep != "cpu" else ()


def _refuse_without_bias(export: genai_config.Export) -> None:
    """Refuse an encoder with Attention nodes without bias: they segfault.

    The builder leaves out Whisper's biases if all are zero, as before training. Seen with onnxruntime 1.31.1;
    microsoft/onnxruntime#25005.
    """
    nodes = onnx_protobuf.read_graph(export.encoder).nodes if export.encoder else ()
    if any(node.op == "com.microsoft.Attention" and not "".join(node.inputs[2:3]) for node in nodes):
        message = "attention has no bias in the export, since the model's are all zero: onnxruntime would crash"
        raise Refusal("unsupported", message, "use trained weights, or random ones that are not zero", "export")
