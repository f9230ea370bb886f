"""Registers a provider plugin's library with onnxruntime, or raises a Refusal with the reason."""

from __future__ import annotations

import re
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

import onnxruntime as ort

from bench.records import Provider
from bench.worker.failures import reason_of
from bench.worker.refusal import Refusal

OTHER_VERSION = re.compile(r"API version|minimum required version|requires (?:ORT|onnxruntime)\b", re.IGNORECASE)
"""How WebGPU, QNN and onnxruntime report that the versions of onnxruntime and plugin do not fit."""
# Messages of onnxruntime and of Linux's dynamic loader: the exception has no code for the cause.
NOT_LOADED = re.compile(r"Failed to load library (?P<path>.+?) with error: (?P<reason>.*)", re.DOTALL)
MISSING = re.compile(r"(?P<library>[\w.+-]+\.(?:so|dylib)[\w.]*): cannot open shared object file")

LOCATORS = ("get_library_path", "library_path")
"""What modules call the function that gives the path of their library: Microsoft's, and others'."""

_registered: dict[str, str] = {}
"""The registered plugin by provider. Never more than one: another registration makes the next session segfault."""


def register(provider: Provider) -> None:
    """Register the plugin with onnxruntime, once in a process. Raises Refusal if that fails."""
    assert provider.plugin is not None
    # Never unregister either: a session that runs afterwards segfaults.
    if _registered == {provider.ep: provider.plugin}:
        return
    if _registered:
        raise RuntimeError(f"this process holds the plugin of {', '.join(_registered)}; another needs another process")
    library = library_of(provider)
    if not hasattr(ort, "register_execution_provider_library"):
        message = f"onnxruntime {ort.__version__} takes no plugins"
        raise Refusal("unavailable", message, "put onnxruntime 1.23 or newer into the runtime", "version")
    try:
        ort.register_execution_provider_library(provider.ep, str(library))
    except Exception as error:  # onnxruntime's exceptions have no class in common
        raise _not_registered(provider, library, error) from error
    _registered[provider.ep] = provider.plugin


def library_of(provider: Provider) -> Path:
    """The path of the plugin's shared library. Raises Refusal if there is none."""
    return _library(provider, _module(provider))


def _module(provider: Provider) -> ModuleType:
    name = provider.plugin or ""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # Another name means that the plugin is installed, and one of its own imports is missing.
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            message = f"the plugin {name} is not installed in this runtime"
            remedy = provider.hint or f"put {name.replace('_', '-')} into the runtime's requirements"
            raise Refusal("unavailable", message, remedy, "not-installed") from error
        raise _not_loaded(provider, reason_of(error)) from error
    except Exception as error:  # a broken package may raise anything
        raise _not_loaded(provider, reason_of(error)) from error


def _library(provider: Provider, module: ModuleType) -> Path:
    locate = next((getattr(module, name) for name in LOCATORS if hasattr(module, name)), None)
    if locate is None:
        raise _not_loaded(provider, f"it has no {LOCATORS[0]}(), so it is no plugin of onnxruntime")
    try:
        library = Path(locate())
    except Exception as error:  # a broken package may raise anything
        raise _not_loaded(provider, reason_of(error)) from error
    if not library.is_file():
        raise _not_loaded(provider, f"its library {library.name} is missing")
    return library


def _not_registered(provider: Provider, library: Path, error: Exception) -> Refusal:
    """The refusal for an error of registration; onnxruntime's causes differ in the message only."""
    error_text = reason_of(error).replace(str(library), library.name)
    if OTHER_VERSION.search(error_text):
        message = f"{provider.plugin} needs another onnxruntime than {ort.__version__}: {error_text}"
        remedy = f"put versions of onnxruntime and {provider.plugin} that belong together into the runtime"
        return Refusal("unavailable", message, remedy, "version")
    if "CreateEpFactories" in error_text:
        return _not_loaded(provider, f"{library.name} is no plugin of onnxruntime: it has no CreateEpFactories")
    not_loaded = NOT_LOADED.search(error_text)
    error_line = not_loaded["reason"] if not_loaded else error_text
    missing = MISSING.search(error_line)
    if missing and missing["library"] != library.name:
        return _not_loaded(provider, f"{library.name} needs {missing['library']}, which is missing")
    return _not_loaded(provider, error_line if library.name in error_line else f"{library.name}: {error_line}")


def _not_loaded(provider: Provider, reason: str) -> Refusal:
    message = f"the plugin {provider.plugin} does not load: {reason}"
    remedy = with_hint("install what is missing, or the plugin again", provider)
    return Refusal("unavailable", message, remedy, "not-loaded")


def with_hint(remedy: str, provider: Provider) -> str:
    """A remedy, followed by the catalogue's hint for the provider if it has one."""
    return f"{remedy}; {provider.hint}" if provider.hint else remedy


def version(provider: Provider) -> dict[str, str]:
    """The version of the plugin's distribution, by its name; empty for a provider in onnxruntime's wheel."""
    if not provider.plugin:
        return {}
    top = provider.plugin.partition(".")[0]
    names = metadata.packages_distributions().get(top, [])
    return {name: metadata.version(name) for name in names[:1]}
