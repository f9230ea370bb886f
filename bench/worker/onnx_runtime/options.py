"""A provider's options and threads as the matrix writes them in, as its own parser reads them out."""

from __future__ import annotations

from bench.records import Note, Option, Provider, note
from bench.worker.onnx_runtime.devices import CPU, OPENVINO, Found

WORDS_FOR_TRUTH = (OPENVINO, "DmlExecutionProvider")
"""Providers that read `True` and `False`; the others read `1` and `0`."""
THREADS = {OPENVINO: "num_of_threads", "XnnpackExecutionProvider": "intra_op_num_threads"}
"""The option by which a provider of the wheel takes a number of threads.

Seen with onnxruntime-openvino 1.24.1: without it all cores were busy, whatever the session's own number was.
"""


def texts(provider: Provider, found: Found, threads: int, scratch: str) -> dict[str, str]:
    """Every option as text: the matrix's own, those that choose the device, the threads and the folder of a cache."""
    text = {name: _text(provider.ep, value) for name, value in provider.options.items()}
    text |= found.options or {}
    if (name := THREADS.get(provider.ep)) and not _threads_said(text) and _takes_threads(provider, found):
        text[name] = str(threads)
    cache = provider.cache
    if cache and cache.kind == "option" and scratch:
        text.setdefault(cache.name, scratch)
    return text


def _text(ep: str, value: Option) -> str:
    if isinstance(value, bool):
        return str(value) if ep in WORDS_FOR_TRUTH else str(int(value))
    return str(value)


def _takes_threads(provider: Provider, found: Found) -> bool:
    on_cpu = found.device is not None and found.device.type == "cpu"
    return provider.plugin is None and on_cpu


def _threads_said(text: dict[str, str]) -> bool:
    return any(name in text for name in THREADS.values()) or "INFERENCE_NUM_THREADS" in text.get("load_config", "")


def threads(provider: Provider, text: dict[str, str], otherwise: int) -> int:
    """The number of threads that the provider was told, or that of the session."""
    said = text.get(THREADS.get(provider.ep, ""), "")
    return int(said) if said.isdecimal() else otherwise


def notes(provider: Provider, found: Found) -> tuple[Note, ...]:
    """What a reader must know about where and how the provider computes."""
    on_cpu = found.device is not None and found.device.type == "cpu"
    if provider.ep == "WebGpuExecutionProvider" and on_cpu:
        return (note("software-adapter"),)
    if provider.emulated:
        return (note("emulated-device"),)
    if found.device is None:
        return (note("device-unknown"),)
    told = provider.ep == CPU or (provider.ep in THREADS and provider.plugin is None)
    return (note("own-threads"),) if on_cpu and not told else ()
