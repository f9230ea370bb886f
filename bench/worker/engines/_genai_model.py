"""Opens a genai export on a provider as onnxruntime-genai holds it, or refuses with the reason."""

from __future__ import annotations

import json
from typing import Any

import onnxruntime_genai as og

from bench.records import Provider
from bench.worker import genai_config
from bench.worker.onnx_runtime import plugins, sessions
from bench.worker.onnx_runtime.devices import Found
from bench.worker.refusal import Refusal

LEVELS = {"none": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED"}
"""genai's words for less than every optimization."""
ENGINE = "genai"
"""The key of this engine in a provider's `engine_names` and `refusals`."""


def refuse(provider: Provider, export: genai_config.Export) -> None:
    """Refuse what would end in a crash, a wrong text, or words that help nobody."""
    _refuse_shapes(provider)
    _refuse_crash(provider, export)
    _refuse_ends(export)


def _refuse_shapes(provider: Provider) -> None:
    """A generic export grows with every token: a provider of fixed shapes takes exports that were made for it alone."""
    if provider.static_shapes:
        message = f"{provider.ep} takes fixed shapes only, and the shapes of generation grow with every token"
        raise Refusal("unsupported", message, "there is no export for it here: run it on another provider", "shapes")


def _refuse_crash(provider: Provider, export: genai_config.Export) -> None:
    """Refuse what the provider's row says that genai dies of."""
    for refusal in provider.refusals:
        if refusal.engine == ENGINE and refusal.part == "encoder" and export.encoder:
            raise Refusal("unsupported", refusal.message, refusal.remedy, "crash")


def _refuse_ends(export: genai_config.Export) -> None:
    """Else a text may end early; and `min_length` forbids the token that ends one, so that another text comes out."""
    if export.ends:
        message = f"the export ends a text at the token {export.ends[0]}, and a timed text has a fixed length"
        raise Refusal("unsupported", message, f'write "eos_token_id": [] into its {genai_config.NAME}')


def register(provider: Provider) -> None:
    """Make a plugin known to genai too: it holds another copy of onnxruntime than Python's."""
    if provider.plugin:
        library = plugins.library_of(provider)
        og.register_execution_provider_library(provider.ep, str(library.resolve()))


def load(
    provider: Provider,
    export: genai_config.Export,
    genai_name: str,
    chosen: Found,
    provider_options: dict[str, str],
    threads: int,
) -> Any:
    """The loaded model: on the provider that genai calls `name`, or on the CPU where that is nothing."""
    config = og.Config(str(export.folder))
    config.clear_providers()
    if genai_name:
        config.append_provider(genai_name)
        for key, value in provider_options.items():
            config.set_provider_option(genai_name, key, value)
        if provider.plugin and chosen.device is not None:
            config.set_decoder_provider_options_hardware_device_type(genai_name, chosen.device.type)
        if export.encoder:
            # What is appended goes to the decoder alone.
            settings = {"session_options": {"provider_options": [{genai_name: provider_options}]}}
            config.overlay(json.dumps({"model": {"encoder": settings}}))
    config.overlay(json.dumps(overlay(provider, export, threads)))
    model = og.Model(config)
    refuse_fallback(provider, genai_name, model)
    return model


def overlay(provider: Provider, export: genai_config.Export, threads: int) -> dict[str, Any]:
    """What is changed in the export's own config: threads, optimization and session entries."""
    session = {
        "intra_op_num_threads": threads,
        "inter_op_num_threads": 1,
        "log_severity_level": sessions.ERRORS_ONLY,
        **({"graph_optimization_level": LEVELS[provider.optimization]} if provider.optimization in LEVELS else {}),
        **provider.session,
    }
    return {"model": {name: {"session_options": session} for name in export.sections}}


def refuse_fallback(provider: Provider, genai_name: str, model: Any) -> None:
    """Refuse a model that genai holds on another device than that of the provider, without having said so."""
    actual_device = str(model.device_type)
    # It is genai's own name for the provider, but for its case.
    if actual_device.casefold() != (genai_name or "cpu").casefold():
        message = f"genai put the model on {actual_device}, and not on {provider.ep}"
        raise Refusal("unsupported", message, plugins.with_hint("its log may say why", provider), "fallback")
