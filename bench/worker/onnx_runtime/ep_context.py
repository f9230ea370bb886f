"""A session's settings in, an EP context model out: what the provider compiled, to be opened in the model's place."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from bench.records import Provider
from bench.worker.onnx_runtime import devices, options, sessions
from bench.worker.refusal import Refusal

NAME = "compiled_ctx.onnx"


def write(provider: Provider, request: sessions.Request) -> None:
    """Compile the request's model into its scratch folder, in place of what an earlier start left there."""
    if not hasattr(ort, "ModelCompiler"):
        raise Refusal("unsupported", f"onnxruntime {ort.__version__} has no ModelCompiler")
    selected = devices.find(provider)
    text = options.texts(provider, selected, request.threads, request.scratch)
    settings, _ = sessions.settings_for(provider, request, selected, text)
    if selected.handle is None:
        settings.add_provider(provider.ep, text)
    out = Path(request.scratch) / NAME
    out.unlink(missing_ok=True)
    compiler = ort.ModelCompiler(settings, str(request.model), embed_compiled_data_into_model=True)
    compiler.compile_to_file(str(out))


def path(request: sessions.Request) -> Path:
    """Where an earlier start left its context model; Refusal where it left none."""
    out = Path(request.scratch) / NAME
    if not out.is_file():
        raise Refusal("unsupported", "no compiled model was kept by the cold start", kind="no-cache")
    return out
