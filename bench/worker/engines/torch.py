"""PyTorch: a visit in, the eager or compiled model out, in a precision that its device really computes in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from bench.records import Device, Executed, Option, Placement, Probe, Provider, TargetFacts, Visit
from bench.worker import families, precision
from bench.worker.refusal import Refusal

FORMAT = None
MODES = ("eager", "compile")
RECIPES = ("fp32", "fp16", "bf16", "dynamic-int8")
FAMILIES = ("text-encoder", "image-classifier")

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
COMPILERS = ("g++", "clang++", "cl")
Feed = dict[str, np.ndarray]


class Session:
    """One loaded model, eager or compiled, on the CPU or on a CUDA device."""

    placement: Placement | None = None
    complaint = ""

    def __init__(self, visit: Visit) -> None:
        self.place = place(visit.options)
        refuse_emulation(visit.recipe.name, self.place)
        exact_fp32()
        torch.set_num_threads(visit.threads)
        self.threads = torch.get_num_threads()
        self.device = device(self.place)
        self.dtype = DTYPES.get(visit.recipe.name, torch.float32)
        model = families.named(visit.family).load(visit.source).to(self.dtype)
        if visit.recipe.name == "dynamic-int8":
            model = dynamic_int8(model, visit.mode, self.place)
        model = model.to(self.place)
        self.model = compiled(model, visit.scratch) if visit.mode == "compile" else model
        self.notes = ("compiled by inductor, static shapes",) if visit.mode == "compile" else ()

    def bind(self, feed: Feed) -> Callable[[], object]:
        """A call that runs `feed` once under inference mode, from tensors on the host to tensors on the host."""
        tensors = {name: self.tensor(array) for name, array in feed.items()}
        return partial(self.run if self.place.type == "cpu" else self.run_there, tensors)

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """The array as the model takes it: floating point in the model's precision, integers as they are."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def run(self, tensors: dict[str, torch.Tensor]) -> Any:
        """One call; the outputs are tensors in the model's own precision."""
        with torch.inference_mode():
            return self.model(**tensors)

    def run_there(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """One call on a device: copying the outputs back waits for it, so the answer is readable when this ends."""
        result = self.run({name: tensor.to(self.place) for name, tensor in tensors.items()})
        return {name: value.cpu() for name, value in result.items() if isinstance(value, torch.Tensor)}

    def outputs(self, result: Any) -> Feed:
        """The outputs of a call by name, widened to FP32, which loses nothing."""
        return {name: value.float().numpy() for name, value in result.items() if isinstance(value, torch.Tensor)}


def place(options: dict[str, Option]) -> torch.device:
    """The device that the option `device` names, `cpu` or `cuda:1`; Refusal where it is not there."""
    name = str(options.get("device", "cpu"))
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdecimal():
        raise Refusal("unsupported", f"unknown device {name!r}", "write 'cpu', 'cuda' or 'cuda:1'", "option")
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        message = f"torch {torch.__version__} sees no CUDA device"
        raise Refusal("unavailable", message, "install a CUDA build of torch and NVIDIA's driver", "no-device")
    count = torch.cuda.device_count()
    if int(index or 0) >= count:
        raise Refusal("unavailable", f"there is no {name}: torch sees {count} CUDA devices", "choose one", "no-device")
    return torch.device("cuda", int(index or 0))


def device(where: torch.device) -> Device:
    """A torch device as a record."""
    if where.type == "cpu":
        return Device("cpu", 0, name=str(torch.backends.cpu.get_cpu_capability()))
    return Device("gpu", where.index or 0, "NVIDIA", str(torch.cuda.get_device_name(where)))


def exact_fp32() -> None:
    """FP32 is FP32: TF32 tensor cores would round its inputs to 10 bits and keep its name."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def compiled(model: torch.nn.Module, scratch: str) -> Any:
    """The model under `torch.compile` with static shapes: every workload gets kernels of its own.

    The compiled kernels are kept in `scratch`, as they would be in a user's cache folder; inductor reads its place from
    the environment only.
    """
    refuse_without_compiler()
    if scratch:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = scratch
    return torch.compile(model, dynamic=False)


def refuse_without_compiler() -> None:
    """Refuse where inductor could not build the kernels that it writes."""
    if not any(shutil.which(name) for name in COMPILERS):
        message = "torch.compile needs a C++ compiler, and there is none"
        raise Refusal("unavailable", message, "install g++, clang or MSVC", "not-installed")


def dynamic_int8(model: torch.nn.Module, mode: str, where: torch.device) -> torch.nn.Module:
    """The model with the weights of its linear layers in INT8; activations are quantized at run time."""
    if mode == "compile":
        raise Refusal("unsupported", "torch.compile does not see into dynamically quantized modules", "use torch-eager")
    if where.type != "cpu":
        raise Refusal("unsupported", "torch quantizes dynamically on the CPU only", "use a target on the CPU")
    quantized: torch.nn.Module = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    return quantized


def refuse_emulation(recipe: str, where: torch.device) -> None:
    """Refuse a half precision that the device lacks: torch would compute in FP32 between casts and say nothing."""
    if where.type == "cuda":
        if recipe == "bf16" and torch.cuda.get_device_capability(where) < (8, 0):
            raise Refusal("unsupported", "this GPU does not compute in bf16: torch would emulate it", "needs Ampere")
        return
    native = {"fp16": "_is_mkldnn_fp16_supported", "bf16": "_is_mkldnn_bf16_supported"}
    if recipe in native and not getattr(torch.ops.mkldnn, native[recipe])():
        needs = {"fp16": "AVX512-FP16 or AMX-FP16", "bf16": "AVX512 or AMX with BF16"}[recipe]
        raise Refusal("unsupported", f"this CPU does not compute in {recipe}: torch would emulate it", f"needs {needs}")


def probe(order: Probe) -> TargetFacts:
    """The device that torch computes on, and what products in each precision are really computed in on it."""
    facts = TargetFacts(available=False, versions=versions(order.provider))
    try:
        where = place(order.options)
        if order.mode == "compile":
            refuse_without_compiler()
    except Refusal as refusal:
        return replace(facts, message=refusal.message, remedy=refusal.remedy, kind=refusal.kind)
    exact_fp32()
    found = device(where)
    measured = tuple(executed(asked, where) for asked in ("fp32", "fp16", "bf16"))
    return replace(facts, available=True, device=found, devices=(found,), executes=measured)


def executed(asked: str, where: torch.device) -> Executed:
    """What a product of two matrices in the precision is computed in; refused where it would be emulated."""
    try:
        refuse_emulation(asked, where)
    except Refusal as refusal:
        return Executed(asked=asked, format="refused", message=refusal.message)
    x, weight = precision.random_pair("fp32")
    x, weight = (_rounded(array, asked) for array in (x, weight))
    bits = precision.effective_bits(x, weight, _product(x, weight, asked, where))
    fine = _product(precision.fine_input("fp32"), weight, asked, where)
    large = _product(precision.large_input(), weight, asked, where)[0, -1]
    mantissa = precision.mantissa_bits("fp32", fine)
    return precision.executed(asked, precision.fp32_format(mantissa, bits, float(large)), bits)


def _rounded(array: np.ndarray, asked: str) -> np.ndarray:
    rounded: np.ndarray = torch.from_numpy(array).to(DTYPES[asked]).float().numpy()
    return rounded


def _product(x: np.ndarray, weight: np.ndarray, asked: str, where: torch.device) -> np.ndarray:
    left, right = (torch.from_numpy(array).to(where, DTYPES[asked]) for array in (x, weight))
    with torch.inference_mode():
        product: np.ndarray = (left @ right).float().cpu().numpy()
    return product


def versions(provider: Provider | None = None) -> dict[str, str]:
    """The versions that the library itself reports."""
    found = {"torch": str(torch.__version__)}
    if torch.version.cuda and torch.cuda.is_available():
        found |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return found
