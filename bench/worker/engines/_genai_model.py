"""Loads a genai export with onnxruntime-genai on a provider, or refuses with a reason."""

from __future__ import annotations

import json
from typing import Any

import onnxruntime_genai as og

from bench.records import Provider
from bench.worker import genai_config
from bench.worker.onnx_runtime import plugins, sessions
from bench.worker.onnx_runtime.devices import SelectedDevice
from bench.worker.refusal import Refusal

LEVELS = {"none": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED"}
"""genai's names for the optimization levels below all optimizations."""
ENGINE = "genai"
"""The key of this engine in a provider's `engine_names` and `refusals`."""


def refuse(provider: Provider, export: genai_config.Export) -> None:
    """Refuse exports that would crash, give a wrong text, or fail with an unhelpful error."""
    _refuse_shapes(provider)
    _refuse_crash(provider, export)
    _refuse_ends(export)


def _refuse_shapes(provider: Provider) -> None:
    """Refuse providers of fixed shapes: they need exports of their own, and shapes here grow with every token."""
    if provider.static_shapes:
        message = f"{provider.ep} takes fixed shapes only, and the shapes of generation grow with every token"
        raise Refusal("unsupported", message, "there is no export for it here: run it on another provider", "shapes")


def _refuse_crash(provider: Provider, export: genai_config.Export) -> None:
    """Refuse what crashes genai according to the provider's row in the catalogue."""
    for refusal in provider.refusals:
        if refusal.engine == ENGINE and refusal.part == "encoder" and export.encoder:
            raise Refusal("unsupported", refusal.message, refusal.remedy, "crash")


def _refuse_ends(export: genai_config.Export) -> None:
    """Refuse an export with an end-of-sequence token, which may end a text early.

    The option `min_length` is no remedy: it forbids the end-of-sequence token, and so changes the text.
    """
    if export.ends:
        message = f"the export ends a text at the token {export.ends[0]}, and a timed text has a fixed length"
        raise Refusal("unsupported", message, f'write "eos_token_id": [] into its {genai_config.NAME}')


def register(provider: Provider) -> None:
    """Register a plug-in provider with genai, which has its own copy of onnxruntime beside that of Python."""
    if provider.plugin:
        # genai takes an absolute path only.
        library = plugins.library_of(provider)
        og.register_execution_provider_library(provider.ep, str(library.resolve()))


def load(
    provider: Provider,
    export: genai_config.Export,
    genai_name: str,
    chosen: SelectedDevice,
    provider_options: dict[str, str],
    threads: int,
) -> Any:
    """Load the model on the provider that genai calls `genai_name`, or on the CPU where that is empty."""
    config = og.Config(str(export.folder))
    # The export names the provider that it was built for; without any provider genai uses the CPU.
    config.clear_providers()
    if genai_name:
        config.append_provider(genai_name)
        for key, value in provider_options.items():
            config.set_provider_option(genai_name, key, value)
        if provider.plugin and chosen.device is not None:
            config.set_decoder_provider_options_hardware_device_type(genai_name, chosen.device.type)
        if export.encoder:
            # `append_provider` affects only the decoder, so the encoder needs an overlay.
            settings = {"session_options": {"provider_options": [{genai_name: provider_options}]}}
            config.overlay(json.dumps({"model": {"encoder": settings}}))
    config.overlay(json.dumps(overlay(provider, export, threads)))
    model = og.Model(config)
    refuse_fallback(provider, genai_name, model)
    return model


def overlay(provider: Provider, export: genai_config.Export, threads: int) -> dict[str, Any]:
    """The changes to the export's config: threads, optimization level and session entries."""
    session = {
        "intra_op_num_threads": threads,
        "inter_op_num_threads": 1,
        "log_severity_level": sessions.ERRORS_ONLY,
        **({"graph_optimization_level": LEVELS[provider.optimization]} if provider.optimization in LEVELS else {}),
        # Last, so that the session entries of the matrix win.
        **provider.session,
    }
    return {"model": {name: {"session_options": session} for name in export.sections}}


def refuse_fallback(provider: Provider, genai_name: str, model: Any) -> None:
    """Refuse a model that genai loaded on another device than that of the provider; genai gives no error then."""
    actual_device = str(model.device_type)
    # genai names the device like the provider, but may use another case.
    if actual_device.casefold() != (genai_name or "cpu").casefold():
        message = f"genai put the model on {actual_device}, and not on {provider.ep}"
        raise Refusal("unsupported", message, plugins.with_hint("its log may say why", provider), "fallback")
