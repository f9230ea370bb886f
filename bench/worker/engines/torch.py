"""PyTorch: a visit in, the eager or compiled model out, in a precision that this CPU really computes in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from bench.records import Placement, Probe, Probed, Visit
from bench.worker import families
from bench.worker.refusal import Refusal

NEEDS_ARTIFACT = False
MODES = ("eager", "compile")
RECIPES = ("fp32", "fp16", "bf16", "dynamic-int8")
FAMILIES = ("text-encoder", "image-classifier")

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
COMPILERS = ("g++", "clang++", "cl")
Feed = dict[str, np.ndarray]


class Session:
    """One loaded model, eager or compiled."""

    placement: Placement | None = None

    def __init__(self, visit: Visit) -> None:
        refuse_emulation(visit.recipe.name)
        torch.set_num_threads(visit.threads)
        self.threads = torch.get_num_threads()
        self.dtype = DTYPES.get(visit.recipe.name, torch.float32)
        model = families.named(visit.family).load(visit.source).to(self.dtype)
        if visit.recipe.name == "dynamic-int8":
            model = dynamic_int8(model, visit.mode)
        self.model = compiled(model, visit.scratch) if visit.mode == "compile" else model
        self.notes = ("compiled by inductor, static shapes",) if visit.mode == "compile" else ()

    def bind(self, feed: Feed) -> Callable[[], object]:
        """A call that runs `feed` once under inference mode; on a CPU its outputs are on the host when it ends."""
        tensors = {name: self.tensor(array) for name, array in feed.items()}
        return partial(self.run, tensors)

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """The array as the model takes it: floating point in the model's precision, integers as they are."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def run(self, tensors: dict[str, torch.Tensor]) -> Any:
        """One call; the outputs are tensors in the model's own precision."""
        with torch.inference_mode():
            return self.model(**tensors)

    def outputs(self, result: Any) -> Feed:
        """The outputs of a call by name, widened to FP32, which loses nothing."""
        return {name: value.float().numpy() for name, value in result.items() if isinstance(value, torch.Tensor)}


def compiled(model: torch.nn.Module, scratch: str) -> Any:
    """The model under `torch.compile` with static shapes: every workload gets kernels of its own.

    The compiled kernels are kept in `scratch`, as they would be in a user's cache folder; inductor reads its place from
    the environment only.
    """
    if not any(shutil.which(name) for name in COMPILERS):
        message = "torch.compile needs a C++ compiler, and there is none"
        raise Refusal("unavailable", message, "install g++, clang or MSVC")
    if scratch:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = scratch
    return torch.compile(model, dynamic=False)


def dynamic_int8(model: torch.nn.Module, mode: str) -> torch.nn.Module:
    """The model with the weights of its linear layers in INT8; activations are quantized at run time."""
    if mode == "compile":
        raise Refusal("unsupported", "torch.compile does not see into dynamically quantized modules", "use torch-eager")
    quantized: torch.nn.Module = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    return quantized


def refuse_emulation(recipe: str) -> None:
    """Refuse a half precision that the CPU lacks: torch would compute in FP32 between casts and call it by the name."""
    native = {"fp16": "_is_mkldnn_fp16_supported", "bf16": "_is_mkldnn_bf16_supported"}
    if recipe in native and not getattr(torch.ops.mkldnn, native[recipe])():
        needs = {"fp16": "AVX512-FP16 or AMX-FP16", "bf16": "AVX512 or AMX with BF16"}[recipe]
        raise Refusal("unsupported", f"this CPU does not compute in {recipe}: torch would emulate it", f"needs {needs}")


def probe(order: Probe) -> Probed:
    """The device that torch computes on, and the precisions that are real on it."""
    real = [name for name in ("fp16", "bf16") if _is_native(name)]
    capability = torch.backends.cpu.get_cpu_capability()
    return Probed(True, versions(), (f"cpu {capability}; native {', '.join(['fp32', *real])}",))


def _is_native(recipe: str) -> bool:
    try:
        refuse_emulation(recipe)
    except Refusal:
        return False
    return True


def versions() -> dict[str, str]:
    """The version that the library itself reports."""
    return {"torch": str(torch.__version__)}
