"""Opens a session that really uses the provider, or raises a Refusal with the reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from bench.records import Provider
from bench.worker.failures import reason_of
from bench.worker.onnx_runtime import assignment, binding, cuda_libraries, devices, native_log, options, plugins
from bench.worker.refusal import Refusal

# onnxruntime's number for the severity `error`; the log is read for errors only.
ERRORS_ONLY = 3
LEVELS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
OPTION_WORDS = re.compile(r"\b(?:invalid|unknown|unsupported|parse)\b.*\b(?:option|config|key)", re.IGNORECASE)
GRAPH_WORDS = re.compile(r"graph capture|CUDA Graph", re.IGNORECASE)
NO_ADAPTER = re.compile(r"adapter|no (?:suitable |supported )?device|device not found", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """The model and settings of a session; the provider is given separately."""

    model: Path | bytes
    threads: int = 1
    scratch: str = ""
    sizes: dict[str, int] | None = None
    """Sizes that symbolic dimensions are fixed to, by name."""
    profile: Path | None = None
    """The prefix of profile files; None for a session without a profile."""


@dataclass(frozen=True)
class Opened:
    """An open session with its device, its provider options as text, and the log's position before it was opened."""

    session: ort.InferenceSession
    selected: devices.SelectedDevice
    text: dict[str, str]
    log_mark: int


def open_session(provider: Provider, request: Request) -> Opened:
    """Open a session on the provider. Raises Refusal if onnxruntime would use the CPU instead.

    onnxruntime's fallback to the CPU after an error is silent, so it is switched off.
    """
    # The severity of a session applies only once it exists, and plugins are registered before.
    ort.set_default_logger_severity(ERRORS_ONLY)
    # Before the plugin is registered, so that the errors of its libraries are found too.
    mark = native_log.mark()
    selected = devices.find(provider)
    load_libraries(provider)
    text = options.texts(provider, selected, request.threads, request.scratch)
    settings, arguments = settings_for(provider, request, selected, text)
    model = request.model if isinstance(request.model, bytes) else str(request.model)
    try:
        # Without this option onnxruntime retries on the CPU after an error, and only prints that.
        session = ort.InferenceSession(model, settings, enable_fallback=0, **arguments)
    except Exception as error:  # onnxruntime's exceptions have no class in common
        if refusal := _refusal(provider, error, text):
            raise refusal from error
        raise
    # The same fallback exists at run time.
    session.disable_fallback()
    # CUDA without its libraries gives a CPU session without an exception. A listed provider may still run no nodes:
    # only the placement shows that.
    if provider.ep not in session.get_providers():
        raise _not_created(provider, native_log.first_error(mark))
    return Opened(session, selected, text, mark)


def load_libraries(provider: Provider) -> None:
    """Load the libraries of CUDA and cuDNN from their wheels, if the provider uses them."""
    # Without these libraries onnxruntime opens a session on the CPU and raises nothing.
    if provider.uses_cuda and hasattr(ort, "preload_dlls"):
        cuda_libraries.load_from_other_folders()
        ort.preload_dlls()


def settings_for(
    provider: Provider, request: Request, selected: devices.SelectedDevice, text: dict[str, str]
) -> tuple[ort.SessionOptions, dict[str, object]]:
    """The session options, and further keyword arguments for `InferenceSession`.

    onnxruntime ignores a plugin in `providers=` without an error (PROVIDERS 2), so a plugin is given by its device.
    """
    settings = ort.SessionOptions()
    settings.log_severity_level = ERRORS_ONLY
    settings.intra_op_num_threads = request.threads
    settings.inter_op_num_threads = 1
    settings.graph_optimization_level = LEVELS[provider.optimization]
    # The placement can only be read from a session that recorded it.
    settings.add_session_config_entry(assignment.RECORD, "1")
    for key, value in provider.session.items():
        settings.add_session_config_entry(key, value)
    # With a symbolic size QNN leaves all nodes to the CPU and raises nothing.
    for name, size in (request.sizes or {}).items():
        settings.add_free_dimension_override_by_name(name, size)
    if request.profile:
        settings.enable_profiling = True
        settings.profile_file_prefix = str(request.profile)
    if selected.handle is None:
        return settings, {"providers": [(provider.ep, text)]}
    settings.add_provider_for_devices([selected.handle], text)
    return settings, {}


def _refusal(provider: Provider, error: Exception, text: dict[str, str]) -> Refusal | None:
    """The refusal for an exception at the creation of a session; None if the cause is the model and not the target."""
    error_text = reason_of(error)
    # onnxruntime has no error codes for these causes, so its message must be searched.
    if binding.wants_graph(provider, text) and GRAPH_WORDS.search(error_text):
        return Refusal("unsupported", error_text, _graph_remedy(provider), "option")
    if any(name in error_text for name in provider.options) or OPTION_WORDS.search(error_text):
        return Refusal("unsupported", error_text, "see the provider's options in its documentation", "option")
    if "Error creating execution provider" in str(error):
        kind = "no-device" if NO_ADAPTER.search(error_text) else "not-created"
        message = f"{provider.ep} could not be created: {error_text}"
        return Refusal("unavailable", message, plugins.with_hint("see its log", provider), kind)
    return None


def _graph_remedy(provider: Provider) -> str:
    # onnxruntime allows nodes on the CPU, but no copy between them and the GPU. With symbolic sizes an exported BERT
    # computes shapes on both and copies one value; with fixed sizes nothing of that is left in its graph.
    if provider.static_shapes:
        return f"leave {provider.graph_option} out for this model: it has nodes that do not run on the GPU"
    return "write static_shapes = true in the row: fixed sizes leave no nodes that compute shapes on the CPU"


def _not_created(provider: Provider, reason: str) -> Refusal:
    message = f"{provider.ep} could not be created, and onnxruntime would go on without it"
    remedy = plugins.with_hint("its log says what it lacks", provider)
    return Refusal("unavailable", f"{message}: {reason}" if reason else message, remedy, "not-created")
