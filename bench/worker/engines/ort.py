"""The engine `ort`: runs an ONNX Runtime session on one execution provider, and reports where its nodes are."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import onnxruntime as ort

from bench.records import Device, EngineManifest, Note, Placement, Probe, Provider, TargetFacts, Visit, note
from bench.worker import feeds
from bench.worker.feeds import Feed
from bench.worker.onnx_runtime import (
    assignment,
    binding,
    devices,
    native_log,
    onnx_protobuf,
    options,
    probing,
    profiles,
)
from bench.worker.onnx_runtime.edge_values import ShortEdges
from bench.worker.onnx_runtime.sessions import Request, open_session, settings_for
from bench.worker.refusal import Refusal

# Literals only: the orchestrator reads them from the source text, because it cannot import onnxruntime.
MANIFEST = EngineManifest(format="onnx", profiles=True, compiles_context=True)
CONTEXT = "compiled_ctx.onnx"
"""The file of an EP context model, in the scratch folder: later starts open it instead of the model."""


class Session:
    """One loaded model on one provider."""

    def __init__(self, visit: Visit, *, compiled: bool = False) -> None:
        """Open the visit's model, or with `compiled` the compiled model of an earlier start."""
        provider, request = provider_of(visit), request_of(visit)
        self.sizes = request.sizes
        if compiled:
            request = _compiled(request)
        self.model = Path(str(request.model))
        opened = open_session(provider, request)
        self.session, self.found, self._log_mark = opened.session, opened.selected, opened.log_mark
        self.provider = provider
        self.names = [output.name for output in self.session.get_outputs()]
        self.inputs = {i.name for i in self.session.get_inputs()}
        self.threads = options.threads(provider, opened.text, visit.threads)
        self.short = ShortEdges(self.session)
        self.graphs = binding.graphs(provider, opened.text, self.session, self.found.device)
        if self.graphs and self.short:
            types = ", ".join(sorted({*self.short.inputs.values(), *self.short.outputs.values()}))
            remedy = f"leave {provider.graph_option} out for this model"
            raise Refusal("unsupported", f"CUDA graphs with inputs or outputs of the type {types}", remedy, "option")

    @property
    def device(self) -> Device | None:
        """The selected device."""
        return self.found.device

    @property
    def notes(self) -> tuple[Note, ...]:
        """Notes for readers of the report."""
        sizes = tuple(f"{name}={size}" for name, size in (self.sizes or {}).items())
        static = (note("static-shapes", sizes=sizes),) if sizes else ()
        graph = (note("cuda-graph"),) if self.graphs else ()
        return (*options.notes(self.provider, self.found), *static, *graph)

    @cached_property
    def placement(self) -> Placement | None:
        """The nodes by provider and op type; computed at first use, so that it is no part of the load time."""
        placed = assignment.placement(self.session, self.model)
        if placed and not placed.nodes and self.provider.ep != devices.CPU:
            return assignment.unassigned(self.model)
        return placed

    @property
    def complaint(self) -> str:
        """The first error that the provider logged since the session was started."""
        return native_log.first_error(self._log_mark)

    def bind(self, feed: Feed) -> Callable[[], object]:
        """A call that runs `feed` once, from NumPy arrays to NumPy arrays.

        Inputs are copied to the device and outputs to the host inside the call, so it ends when outputs are readable.
        """
        # onnxruntime refuses an input that the model does not have, and a model may lack some of its family's inputs.
        inputs = {name: array for name, array in feed.items() if name in self.inputs}
        if self.short:
            return self.short.bind(self.names, inputs)
        return self.graphs.bind(inputs) if self.graphs else partial(self.session.run, self.names, inputs)

    def outputs(self, result: object) -> Feed:
        """The outputs of a call by name."""
        arrays = self.short.values(self.names, result) if self.short else result  # type: ignore[arg-type]
        return dict(zip(self.names, arrays, strict=True))  # type: ignore[call-overload]


def provider_of(visit: Visit) -> Provider:
    """The visit's provider; Refusal where there is none."""
    if visit.provider is None:
        raise Refusal("unsupported", "the engine ort needs an execution provider", "give the target an ep")
    return visit.provider


def request_of(visit: Visit) -> Request:
    """The request that opens the visit's session; a provider of fixed shapes gets the sizes of the first job."""
    model = Path(visit.artifact or "") / "model.onnx"
    sizes = None
    if visit.provider and visit.provider.static_shapes and visit.jobs:
        sizes = onnx_protobuf.fixed_sizes(model, feeds.load(Path(visit.jobs[0].reference) / "inputs.npz")[0])
    return Request(model, visit.threads, visit.scratch, sizes)


def _compiled(request: Request) -> Request:
    """The request with the compiled model that an earlier start wrote. Raises Refusal if there is none."""
    model = Path(request.scratch) / CONTEXT
    if not model.is_file():
        raise Refusal("unsupported", "no compiled model was kept by the cold start", kind="no-cache")
    return Request(model, request.threads, request.scratch, request.sizes)


def compile_context(visit: Visit) -> None:
    """Compile the model to an EP context model in the folder `visit.scratch`. Replaces that of an earlier start."""
    if not hasattr(ort, "ModelCompiler"):
        raise Refusal("unsupported", f"onnxruntime {ort.__version__} has no ModelCompiler")
    provider, request = provider_of(visit), request_of(visit)
    selected = devices.find(provider)
    text = options.texts(provider, selected, request.threads, request.scratch)
    settings, _ = settings_for(provider, request, selected, text)
    # `settings_for` returns a provider that is opened by name as an argument, which the compiler does not take.
    if selected.handle is None:
        settings.add_provider(provider.ep, text)
    compiled = Path(request.scratch) / CONTEXT
    compiled.unlink(missing_ok=True)
    compiler = ort.ModelCompiler(settings, str(request.model), embed_compiled_data_into_model=True)
    compiler.compile_to_file(str(compiled))


def profiled(visit: Visit, placement: Placement, feed: Feed) -> Placement:
    """The placement with the copies and times of some calls of a profiling session."""
    provider, request = provider_of(visit), request_of(visit)

    def open_with(profile: Path) -> tuple[ort.InferenceSession, ort.RunOptions | None]:
        # A session of its own: writing the profile slows its calls, so none of them may be timed.
        profiled_request = Request(request.model, request.threads, request.scratch, request.sizes, profile)
        opened = open_session(provider, profiled_request)
        # A graph that is replayed has no nodes in the profile.
        return opened.session, binding.without_graph(provider, opened.text)

    return profiles.profiled(open_with, feed, provider.ep, placement)


def probe(order: Probe) -> TargetFacts:
    """Facts about the target on this machine."""
    if order.provider is None:
        raise Refusal("unsupported", "the engine ort needs an execution provider", "give the target an ep")
    return probing.probe(order.provider)


def versions(provider: Provider | None) -> dict[str, str]:
    """The versions that the libraries report."""
    return probing.versions(provider)
