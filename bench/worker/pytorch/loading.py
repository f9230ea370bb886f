"""Loads a visit's model in PyTorch, on the requested device and in the requested precision, or refuses."""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch
import torch._dynamo

from bench.records import Device, Option, Visit
from bench.worker import families
from bench.worker.refusal import Refusal

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
COMPILERS = ("g++", "clang++", "cl")


class Loaded:
    """A visit's model in PyTorch, with its device, precision and threads."""

    def __init__(self, visit: Visit) -> None:
        self.torch_device = select_device(visit.options)
        refuse_emulation(visit.recipe.name, self.torch_device)
        exact_fp32()
        # Every target of a comparison gets the same number of threads.
        torch.set_num_threads(visit.threads)
        self.threads = torch.get_num_threads()
        self.device = device(self.torch_device)
        self.dtype = DTYPES.get(visit.recipe.name, torch.float32)
        model = families.named(visit.family).load(visit.source).to(self.dtype)
        if visit.recipe.name == "dynamic-int8":
            model = dynamic_int8(model, visit.mode, self.torch_device)
        self.model = model.to(self.torch_device)


def select_device(options: dict[str, Option]) -> torch.device:
    """The device that the option `device` names, such as `cpu` or `cuda:1`; Refusal where it does not exist."""
    name = str(options.get("device", "cpu"))
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdecimal():
        raise Refusal("unsupported", f"unknown device {name!r}", "write 'cpu', 'cuda' or 'cuda:1'", "option")
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise _no_cuda()
    count = torch.cuda.device_count()
    if int(index or 0) >= count:
        raise Refusal("unavailable", f"there is no {name}: torch sees {count} CUDA devices", "choose one", "no-device")
    return torch.device("cuda", int(index or 0))


def _no_cuda() -> Refusal:
    """Why torch sees no CUDA device: it is built without CUDA, or what its own error says of the driver."""
    message, remedy = f"torch {torch.__version__} sees no CUDA device", "check the driver with nvidia-smi"
    if torch.version.cuda is None and torch.version.hip is None:
        message, remedy = f"{message}: it is built without CUDA", "install a CUDA build of torch"
    else:
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            # The sentences after the first one are advice with links.
            message = f"{message}: {str(error).partition('. ')[0].rstrip('.')}"
    return Refusal("unavailable", message, remedy, "no-device")


def device(torch_device: torch.device) -> Device:
    """A torch device as a record."""
    if torch_device.type == "cpu":
        return Device("cpu", 0, name=str(torch.backends.cpu.get_cpu_capability()))
    return Device("gpu", torch_device.index or 0, "NVIDIA", str(torch.cuda.get_device_name(torch_device)))


def exact_fp32() -> None:
    """Switch TF32 off: its tensor cores round FP32 inputs to a mantissa of 10 bits."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def compiled(model: torch.nn.Module, scratch: str) -> Any:
    """The model under `torch.compile` with static shapes: every workload gets its own kernels.

    The compiled kernels are cached in `scratch`, as in a user's cache folder. inductor takes the folder only from the
    environment.
    """
    refuse_without_compiler()
    if scratch:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = scratch
    # Each workload has its own shapes, and after the eighth dynamo would run uncompiled with only a line in the log.
    torch._dynamo.config.recompile_limit = 64
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    return torch.compile(model, dynamic=False)


def refuse_without_compiler() -> None:
    """Refuse where inductor has no C++ compiler to build its kernels."""
    if not any(shutil.which(name) for name in COMPILERS):
        message = "torch.compile needs a C++ compiler, and there is none"
        raise Refusal("unavailable", message, "install g++, clang or MSVC", "not-installed")


def dynamic_int8(model: torch.nn.Module, mode: str, torch_device: torch.device) -> torch.nn.Module:
    """The model with the weights of its linear layers in INT8; activations are quantized at run time."""
    if mode == "compile":
        raise Refusal("unsupported", "torch.compile does not see into dynamically quantized modules", "use torch-eager")
    if torch_device.type != "cpu":
        raise Refusal("unsupported", "torch quantizes dynamically on the CPU only", "use a target on the CPU")
    quantized: torch.nn.Module = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    return quantized


def refuse_emulation(recipe: str, torch_device: torch.device) -> None:
    """Refuse a half precision that the device lacks: torch would compute in FP32 between casts without a warning."""
    if torch_device.type == "cuda":
        # GPUs compute in BF16 from compute capability 8.0 on.
        if recipe == "bf16" and torch.cuda.get_device_capability(torch_device) < (8, 0):
            raise Refusal("unsupported", "this GPU does not compute in bf16: torch would emulate it", "needs Ampere")
        return
    # oneDNN knows what the CPU computes in; torch itself accepts both types on every CPU.
    native = {"fp16": "_is_mkldnn_fp16_supported", "bf16": "_is_mkldnn_bf16_supported"}
    if recipe in native and not getattr(torch.ops.mkldnn, native[recipe])():
        needs = {"fp16": "AVX512-FP16 or AMX-FP16", "bf16": "AVX512 or AMX with BF16"}[recipe]
        raise Refusal("unsupported", f"this CPU does not compute in {recipe}: torch would emulate it", f"needs {needs}")
