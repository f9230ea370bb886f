"""Selects the device that a provider's session is opened on, or raises a Refusal with the reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import onnxruntime as ort

from bench.records import CPU_PROVIDER, Device, DeviceChoice, DeviceOption, DeviceType, Provider
from bench.worker.onnx_runtime import cuda_libraries, plugins
from bench.worker.refusal import Refusal

CPU = CPU_PROVIDER
ON_CPU = Provider(CPU, only_device="cpu", takes_options=False, session_threads=True)
"""The CPU provider for sessions that belong to no target, as its row of the catalogue describes it."""
TYPES: tuple[DeviceType, ...] = ("cpu", "gpu", "npu")


@dataclass(frozen=True)
class SelectedDevice:
    """A provider's devices on this machine, the selected one, and the options that select it."""

    devices: tuple[Device, ...]
    device: Device | None
    """None if neither onnxruntime nor the provider's options say which it is."""
    handle: Any = None
    """The OrtEpDevice of a provider that is opened by device; None if it is opened by name."""
    options: dict[str, str] | None = None
    """Provider options that select the device, for a provider that is opened by name."""


def find(provider: Provider) -> SelectedDevice:
    """Register the provider's plugin, if it has one, and select its device. Raises Refusal if something is missing."""
    if provider.plugin:
        plugins.register(provider)
        return _select_by_handle(provider)
    # Not `get_all_providers()`: that is a fixed list of names, which says nothing about this wheel.
    if provider.ep in ort.get_available_providers():
        return _select_by_name(provider)
    if offered(provider.ep):
        return _select_by_handle(provider)
    providers = ", ".join(ort.get_available_providers())
    message = f"{provider.ep} is not in this onnxruntime, which holds {providers}"
    remedy = f"install a wheel with {provider.ep} in a runtime of its own"
    raise Refusal("unavailable", message, plugins.with_hint(remedy, provider), "not-installed")


def offered(ep: str) -> list[tuple[Device, Any]]:
    """The provider's devices that onnxruntime lists, with their OrtEpDevice; indexes count from 0 within each type."""
    # Wheels with an older onnxruntime do not have this function.
    if not hasattr(ort, "get_ep_devices"):
        return []
    counts: Counter[str] = Counter()
    offers = []
    for handle in ort.get_ep_devices():
        if handle.ep_name == ep:
            kind = handle.device.type.name.lower()
            offers.append((_device(handle, kind, counts[kind]), handle))
            counts[kind] += 1
    return offers


def _device(handle: Any, kind: DeviceType, index: int) -> Device:
    metadata = dict(handle.device.metadata)
    # Metadata is published with the report, and paths can show user names.
    clean = {key: value for key, value in sorted(metadata.items()) if not {"/", "\\"} & set(value)}
    return Device(
        type=kind, index=index, vendor=handle.device.vendor, name=clean.get("Description", ""), metadata=clean
    )


def _select_by_handle(provider: Provider) -> SelectedDevice:
    """Select a device of a plugin or of the operating system; it must be listed, and the choice must be unique."""
    offers = offered(provider.ep)
    # A plugin that registers may still offer no device, as OpenVINO's does on CPUs that are not Intel's.
    if not offers:
        raise _no_device(provider)
    device, handle = _select(provider, offers)
    return SelectedDevice(tuple(listed for listed, _ in offers), device, handle)


def _no_device(provider: Provider) -> Refusal:
    others = sorted({d.ep_name for d in ort.get_ep_devices()} - {provider.ep, CPU}) if provider.plugin else []
    if others:
        message = f"{provider.plugin} offers {', '.join(others)}, and not {provider.ep}"
        return Refusal("unavailable", message, f'write ep = "{others[0]}"', "registers-nothing")
    message = f"{provider.plugin or provider.ep} is registered, but offers no device on this machine"
    remedy = plugins.with_hint("see what device it needs, and whether the system shows one", provider)
    return Refusal("unavailable", message, remedy, "registers-nothing")


def _select(provider: Provider, offers: list[tuple[Device, Any]]) -> tuple[Device, Any]:
    """The device that matches the matrix row. Raises Refusal, with the devices' labels, if none or several match."""
    # An emulator lists the device that it runs on, and not the type that it emulates.
    choice = DeviceChoice(index=provider.device.index) if provider.emulated else provider.device
    matches = [pair for pair in offers if _matches(choice, pair[0], [listed for listed, _ in offers])]
    if len(matches) == 1:
        return matches[0]
    labels = ", ".join(listed.label for listed, _ in offers)
    if not matches:
        message = f"{provider.ep} has no device {provider.device} here: it has {labels}"
        raise Refusal("unavailable", message, plugins.with_hint(f"choose among {labels}", provider), "no-device")
    several = [listed.label for listed, _ in matches]
    message = f"{provider.ep} has {len(several)} devices that fit: {', '.join(several)}"
    raise Refusal("unavailable", message, f"say which: device = {' or '.join(map(repr, several))}", "no-device")


def _matches(choice: DeviceChoice, device: Device, all_devices: list[Device]) -> bool:
    """Whether a device matches; an index counts within the chosen type, or among all devices if no type is chosen."""
    if choice.type is None:
        return choice.index is None or all_devices.index(device) == choice.index
    return device.type == choice.type and choice.index in (None, device.index)


def _select_by_name(provider: Provider) -> SelectedDevice:
    """Select a device of a provider in the wheel by its options, and check it against onnxruntime's list."""
    choice = provider.device
    offers = offered(provider.ep)
    all_devices = tuple(listed for listed, _ in offers)
    if option := provider.device_option:
        return _select_by_type(provider, option) if option.names_type else _select_by_index(provider, option, offers)
    if kind := provider.only_device:
        _refuse_type(provider, (kind,))
        return SelectedDevice(all_devices or (Device(kind, 0),), all_devices[0] if all_devices else Device(kind, 0))
    if offers and choice != DeviceChoice():
        device, handle = _select(provider, offers)
        return SelectedDevice(all_devices, device, handle)
    if choice.index:
        message = f"{provider.ep} gives no way to choose device {choice}"
        raise Refusal("unavailable", message, "leave the index out, and choose by its options", "no-device")
    return SelectedDevice(all_devices, all_devices[0] if len(all_devices) == 1 else None)


def _refuse_type(provider: Provider, kinds: tuple[DeviceType, ...]) -> None:
    if provider.device.type not in (None, *kinds):
        message = f"{provider.ep} runs on a {' or '.join(kinds)}, and the row asks for {provider.device}"
        raise Refusal("unavailable", message, f"write device = {kinds[0]!r}, or leave it out", "no-device")


def _select_by_index(provider: Provider, option: DeviceOption, offers: list[tuple[Device, Any]]) -> SelectedDevice:
    """Select a device of a provider that takes the device's index as an option."""
    choice, all_devices = provider.device, tuple(listed for listed, _ in offers)
    _refuse_type(provider, option.indexed)
    if offers and choice != DeviceChoice():
        # Only refuses a device that does not exist: the provider gets the index as an option.
        _select(provider, offers)
    index = choice.index if choice.index is not None else int(provider.options.get(option.name, 0))
    kind = choice.type or option.indexed[0]
    listed = next((device for device in all_devices if device.label == f"{kind}.{index}"), None)
    chosen = listed or _unlisted(provider, kind, index)
    return SelectedDevice(all_devices, chosen, options={option.name: str(index)})


def _unlisted(provider: Provider, kind: DeviceType, index: int) -> Device:
    """A device that onnxruntime does not list, such as those of the CUDA provider in onnxruntime-gpu 1.31.1."""
    name = cuda_libraries.device_name(index) if provider.uses_cuda else ""
    return Device(kind, index, name.split()[0] if name else "", name)


def _select_by_type(provider: Provider, option: DeviceOption) -> SelectedDevice:
    """Select a device of a provider that takes its name as an option: `CPU`, `GPU.1`, or several: `AUTO:GPU,NPU`."""
    choice, setting = provider.device, str(provider.options.get(option.name, ""))
    base = setting.partition(".")[0].lower()
    if choice.type and base in TYPES and base != choice.type:
        message = f"the row asks for {choice}, and its option {option.name} for {setting}"
        raise Refusal("unsupported", message, "leave one of the two out", "option")
    name = setting or (choice.type or "cpu").upper()
    if choice.index is not None and name.lower() in option.indexed:
        name = f"{name}.{choice.index}"
    # `AUTO:GPU,NPU` names several devices, so the one that will be used is not known.
    kind, _, index = name.lower().partition(".")
    device = Device(kind, int(index or 0)) if kind in TYPES and (index or "0").isdecimal() else None
    return SelectedDevice((device,) if device else (), device, options={option.name: name})
