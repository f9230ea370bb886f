"""Probes a provider on this machine: its devices, and the number formats that it computes small models in.

The check that is most likely to crash the process is last. An exception in a check is a result and is reported.
"""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import onnxruntime as ort
from msgspec.structs import replace

from bench.records import Executed, Provider, TargetFacts
from bench.worker import precision
from bench.worker.failures import failure_of, reason_of
from bench.worker.onnx_runtime import (
    assignment,
    binding,
    devices,
    native_log,
    onnx_protobuf,
    options,
    plugins,
    sessions,
)
from bench.worker.onnx_runtime.devices import CPU
from bench.worker.refusal import Refusal

# Some providers ignore unknown options, so a misspelt one has no effect and gives no error.
NO_SUCH_OPTION = "touchstone_no_such_option"


def versions(provider: Provider | None) -> dict[str, str]:
    """The versions of onnxruntime, of the plugin, and of CUDA as the wheel was built for it, by name."""
    versions_by_name = {"onnxruntime": str(ort.__version__)}
    if provider is None:
        return versions_by_name
    if provider.uses_cuda and getattr(ort, "cuda_version", None):
        versions_by_name["cuda"] = str(ort.cuda_version)
    return versions_by_name | plugins.version(provider)


def probe(provider: Provider) -> TargetFacts:
    """All facts about a target that need no model of the user."""
    facts, log_mark = TargetFacts(available=False, versions=versions(provider)), native_log.mark()
    try:
        selected = devices.find(provider)
        first = executed_fp32(provider)
    except Exception as error:  # noqa: BLE001 - any exception is the result of the probe
        _log(error)
        failure = failure_of(error, "session")
        offered = tuple(device for device, _ in devices.offered(provider.ep))
        facts_of_failure = replace(facts, message=failure.message, remedy=failure.remedy, kind=failure.kind)
        return replace(facts_of_failure, devices=offered)
    facts = replace(facts, available=True, device=selected.device, devices=selected.devices)
    # A provider that fails silently leaves the reason in the log only.
    if first.format == "elsewhere":
        facts = replace(facts, message=native_log.first_error(log_mark))
    executes = (first, _measure("fp16", executed_fp16, provider))
    facts = replace(facts, notes=options.notes(provider, selected), executes=executes)
    # If no small model runs on the provider, a session with an unknown option shows nothing.
    if first.format in ("elsewhere", "refused"):
        return facts
    return replace(facts, checks_options=checks_options(provider))


def _measure(number_format: str, measure: Any, provider: Provider) -> Executed:
    try:
        return measure(provider)  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001 - a provider may refuse the format with any exception
        _log(error)
        return Executed(asked=number_format, format="refused", message=reason_of(error))


def executed_fp32(provider: Provider) -> Executed:
    """The number format that an FP32 product is computed in. Raises if the provider cannot open a session."""
    x, weight = precision.random_pair("fp32")
    products = Products(provider, weight)
    try:
        if message := products.elsewhere():
            return Executed(asked="fp32", format="elsewhere", message=message)
        bits = precision.effective_bits(x, weight, products(x))
        mantissa = precision.mantissa_bits("fp32", products(precision.fine_input("fp32")))
        large = float(products(precision.large_input())[0, -1])
    except Exception as error:  # noqa: BLE001 - it opened the model and could not run it
        _log(error)
        return Executed(asked="fp32", format="refused", message=reason_of(error))
    return precision.executed("fp32", precision.fp32_format(mantissa, bits, large), bits)


def executed_fp16(provider: Provider) -> Executed:
    """The number format that an FP16 product is computed in, and whether its result is rounded before the next one."""
    x, weight = precision.random_pair("fp16")
    products = Products(provider, weight)
    if message := products.elsewhere():
        return Executed(asked="fp16", format="elsewhere", message=message)
    bits = precision.effective_bits(x, weight, products(x))
    mantissa = precision.mantissa_bits("fp16", products(precision.fine_input("fp16")))
    # Two products in series show whether the first result is rounded to FP16 before the second.
    start, *weights = precision.chain()
    two_products = Products(provider, *weights)
    if message := two_products.elsewhere():
        return Executed(asked="fp16", format="elsewhere", message=message)
    return precision.executed("fp16", precision.fp16_format(mantissa, float(two_products(start)[0, 0])), bits)


def checks_options(provider: Provider) -> bool | None:
    """Whether the provider refuses an unknown option; None for a provider without options."""
    if not provider.takes_options:
        return None
    with_unknown_option = replace(provider, options=provider.options | {NO_SUCH_OPTION: "1"})
    try:
        products = Products(with_unknown_option, precision.random_pair("fp32")[1])
    except Exception:  # noqa: BLE001 - the same session has opened without the option, so it is what is refused
        return True
    # Some providers refuse the option silently: the nodes are then on other providers.
    return bool(products.elsewhere())


def _log(error: Exception) -> None:
    """Write the traceback of an exception to the log: the facts have one line of it, and it may be a fault of ours."""
    # The parent searches the end of the log for a provider's words on a refusal, and a traceback would displace them.
    if not isinstance(error, Refusal):
        traceback.print_exception(error)


class Products:
    """A session of MatMuls in series, one for each weight, that is called as those of cells are.

    It uses no profile and no compile cache.
    """

    def __init__(self, provider: Provider, *weights: Any) -> None:
        model = onnx_protobuf.matrix_products(weights, (precision.SIZE, precision.SIZE))
        opened = sessions.open_session(provider, sessions.Request(model))
        self.provider, self.number, self.session = provider, len(weights), opened.session
        self.graphs = binding.graphs(provider, opened.text, opened.session, opened.selected.device)

    def __call__(self, x: precision.Floats) -> Any:
        """The product of `x`, a square of `precision.SIZE`."""
        feed = {"x": x}
        return np.asarray((self.graphs.bind(feed)() if self.graphs else self.session.run(["y"], feed))[0])

    def elsewhere(self) -> str:
        """Which providers run the products that the target does not run; an empty string if it runs all of them.

        onnxruntime 1.24 does not list FP16 nodes on the CPU, so they are on no listed provider.
        """
        placed, ep = assignment.placement(self.session), self.provider.ep
        if placed is None or ep == CPU or sum(placed.nodes.get(ep, {}).values()) >= self.number:
            return ""
        others = ", ".join(name for name in placed.nodes if name != ep)
        return f"on {others or 'no provider that onnxruntime lists'}"
