"""The engine `torch`: runs PyTorch, eager or compiled, in a precision in which the device really computes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from bench.records import (
    EngineManifest,
    EngineRecipe,
    Executed,
    Placement,
    Probe,
    Provider,
    TargetFacts,
    Tolerance,
    Visit,
    note,
)
from bench.worker import families, precision
from bench.worker.contracts import Generator
from bench.worker.contracts import Session as ForwardSession
from bench.worker.pytorch.generation import TextGeneration
from bench.worker.pytorch.loading import (
    DTYPES,
    Loaded,
    compiled,
    device,
    exact_fp32,
    refuse_emulation,
    refuse_without_compiler,
    select_device,
)
from bench.worker.pytorch.speech import SpeechRecognition
from bench.worker.refusal import Refusal

MANIFEST = EngineManifest(
    format=None,
    modes=("eager", "compile"),
    needs_module=True,
    recipes={
        "fp32": EngineRecipe(number_format="fp32"),
        "fp16": EngineRecipe(number_format="fp16"),
        "bf16": EngineRecipe(number_format="bf16"),
        # The limits of dynamic INT8 in the formats `onnx` and `optimum`: a row must not pass because of its engine.
        "dynamic-int8": EngineRecipe(
            number_format="int8",
            tolerance={
                "text-encoder": Tolerance(min_cosine=0.97, max_relative_error=0.25),
                "image-classifier": Tolerance(min_cosine=0.98, max_relative_error=0.2),
                # With trained weights (SmolLM2): 0.30 / 0.63 token by token, 1.1 / 0.42 over prompts of 512 tokens.
                "text-generator": Tolerance(max_kl=0.45, max_kl_random=4e-2, min_top1=0.6),
                "speech-recognizer": Tolerance(max_kl=5e-2, min_top1=0.6),
            },
        ),
    },
)

Feed = dict[str, np.ndarray]


def Session(visit: Visit) -> ForwardSession | Generator:  # noqa: N802 - every engine has one of this name
    """Load the model in the class for the task of its family."""
    generating: dict[str, Callable[[Visit], Generator]] = {
        "text-generation": TextGeneration,
        "speech-recognition": SpeechRecognition,
    }
    task = families.named(visit.family).MANIFEST.task
    return generating[task](visit) if task in generating else Forward(visit)


class Forward:
    """One loaded model of the task `forward`, eager or compiled, on the CPU or on a CUDA device."""

    placement: Placement | None = None
    complaint = ""

    def __init__(self, visit: Visit) -> None:
        loaded = Loaded(visit)
        self.torch_device, self.dtype = loaded.torch_device, loaded.dtype
        self.threads, self.device = loaded.threads, loaded.device
        self.model = compiled(loaded.model, visit.scratch) if visit.mode == "compile" else loaded.model
        self.notes = (note("compiled"),) if visit.mode == "compile" else ()

    def bind(self, feed: Feed) -> Callable[[], object]:
        """A call that runs `feed` once under inference mode, from tensors on the host to tensors on the host."""
        tensors = {name: self.tensor(array) for name, array in feed.items()}
        return partial(self.run if self.torch_device.type == "cpu" else self.run_on_device, tensors)

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """The array as a tensor: floating point in the model's precision, integers unchanged."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def run(self, tensors: dict[str, torch.Tensor]) -> Any:
        """One call; the outputs are tensors in the model's own precision."""
        with torch.inference_mode():
            return self.model(**tensors)

    def run_on_device(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """One call on a device; the copy of the outputs to the host waits for the device, so they are readable then."""
        result = self.run({name: tensor.to(self.torch_device) for name, tensor in tensors.items()})
        return {name: value.cpu() for name, value in result.items() if isinstance(value, torch.Tensor)}

    def outputs(self, result: Any) -> Feed:
        """The outputs of a call by name, widened to FP32 without loss."""
        # NumPy has no BF16.
        return {name: value.float().numpy() for name, value in result.items() if isinstance(value, torch.Tensor)}


def probe(order: Probe) -> TargetFacts:
    """The device that torch computes on, and the number format in which it really computes each precision."""
    facts = TargetFacts(available=False, versions=versions(order.provider))
    try:
        torch_device = select_device(order.options)
        if order.mode == "compile":
            refuse_without_compiler()
    except Refusal as refusal:
        return replace(facts, message=refusal.message, remedy=refusal.remedy, kind=refusal.kind)
    # As in a session: with TF32 the probe would find another format than the one that is timed.
    exact_fp32()
    chosen = device(torch_device)
    measured = tuple(executed(number_format, torch_device) for number_format in ("fp32", "fp16", "bf16"))
    return replace(facts, available=True, device=chosen, devices=(chosen,), executes=measured)


def executed(requested: str, torch_device: torch.device) -> Executed:
    """The number format in which a matrix product of the precision is computed; `refused` for an emulated one."""
    try:
        refuse_emulation(requested, torch_device)
    except Refusal as refusal:
        return Executed(asked=requested, format="refused", message=refusal.message)
    x, weight = precision.random_pair("fp32")
    # Rounded before the product, so that the error is that of the product and not of its inputs.
    x, weight = (_rounded(array, requested) for array in (x, weight))
    bits = precision.effective_bits(x, weight, _product(x, weight, requested, torch_device))
    # Products are widened to FP32, so FP32's test input also shows the bits that a half precision keeps.
    fine = _product(precision.fine_input("fp32"), weight, requested, torch_device)
    large = _product(precision.large_input(), weight, requested, torch_device)[0, -1]
    mantissa = precision.mantissa_bits("fp32", fine)
    return precision.executed(requested, precision.fp32_format(mantissa, bits, float(large)), bits)


def _rounded(array: np.ndarray, number_format: str) -> np.ndarray:
    rounded: np.ndarray = torch.from_numpy(array).to(DTYPES[number_format]).float().numpy()
    return rounded


def _product(x: np.ndarray, weight: np.ndarray, number_format: str, torch_device: torch.device) -> np.ndarray:
    first, second = (torch.from_numpy(array).to(torch_device, DTYPES[number_format]) for array in (x, weight))
    with torch.inference_mode():
        product: np.ndarray = (first @ second).float().cpu().numpy()
    return product


def versions(provider: Provider | None = None) -> dict[str, str]:
    """The versions that the library reports."""
    reported = {"torch": str(torch.__version__)}
    if torch.version.cuda and torch.cuda.is_available():
        reported |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return reported
