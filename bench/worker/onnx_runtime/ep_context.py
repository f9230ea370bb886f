"""Compiles a model to an EP context model, which later starts open instead of the model."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from bench.records import Provider
from bench.worker.onnx_runtime import devices, options, sessions
from bench.worker.refusal import Refusal

NAME = "compiled_ctx.onnx"


def write(provider: Provider, request: sessions.Request) -> None:
    """Compile the request's model into its scratch folder. Replaces the result of an earlier start."""
    if not hasattr(ort, "ModelCompiler"):
        raise Refusal("unsupported", f"onnxruntime {ort.__version__} has no ModelCompiler")
    selected = devices.find(provider)
    text = options.texts(provider, selected, request.threads, request.scratch)
    settings, _ = sessions.settings_for(provider, request, selected, text)
    # `settings_for` returns a provider that is opened by name as an argument, which the compiler does not take.
    if selected.handle is None:
        settings.add_provider(provider.ep, text)
    out = Path(request.scratch) / NAME
    out.unlink(missing_ok=True)
    compiler = ort.ModelCompiler(settings, str(request.model), embed_compiled_data_into_model=True)
    compiler.compile_to_file(str(out))


def path(request: sessions.Request) -> Path:
    """The path of the context model that an earlier start wrote. Raises Refusal if there is none."""
    out = Path(request.scratch) / NAME
    if not out.is_file():
        raise Refusal("unsupported", "no compiled model was kept by the cold start", kind="no-cache")
    return out
