"""Turns a provider's options and threads from the matrix into the texts that its own parser reads."""

from __future__ import annotations

from bench.records import Note, Option, Provider, ThreadsOption, note
from bench.worker.onnx_runtime.devices import SelectedDevice


def texts(provider: Provider, selected: SelectedDevice, threads: int, scratch: str) -> dict[str, str]:
    """All provider options as text: the matrix's, and those for the device, the threads and the compile cache."""
    text = {name: _as_text(provider, value) for name, value in provider.options.items()}
    text |= selected.options or {}
    # A provider that ignores the session's threads must compute with the same number as all other targets.
    option = provider.threads_option
    if option and _is_on_cpu(selected) and not _sets_threads(text, option):
        text[option.name] = str(threads)
    cache = provider.cache
    if cache and cache.kind == "option" and scratch:
        # A folder that the matrix gives is kept.
        text.setdefault(cache.name, scratch)
    return text


def _as_text(provider: Provider, value: Option) -> str:
    # Providers differ in how they write a boolean: True and False, or 1 and 0.
    if isinstance(value, bool):
        return str(value) if provider.boolean_words else str(int(value))
    return str(value)


def _is_on_cpu(selected: SelectedDevice) -> bool:
    return selected.device is not None and selected.device.type == "cpu"


def _sets_threads(text: dict[str, str], option: ThreadsOption) -> bool:
    """Whether the matrix sets the number of threads, in this option or in another that can contain it."""
    return option.name in text or any(word in text.get(name, "") for name, word in option.unless.items())


def threads(provider: Provider, text: dict[str, str], otherwise: int) -> int:
    """The number of threads in the provider's options; `otherwise` if they do not give it."""
    given = text.get(provider.threads_option.name, "") if provider.threads_option else ""
    return int(given) if given.isdecimal() else otherwise


def notes(provider: Provider, selected: SelectedDevice) -> tuple[Note, ...]:
    """Notes for the reader on where and how the provider computes."""
    on_cpu = _is_on_cpu(selected)
    if provider.imitates_gpu and on_cpu:
        return (note("software-adapter"),)
    if provider.emulated:
        return (note("emulated-device"),)
    if selected.device is None:
        return (note("device-unknown"),)
    is_set = provider.session_threads or provider.threads_option is not None
    return (note("own-threads"),) if on_cpu and not is_set else ()
