"""Runs a session with CUDA graphs; every call includes the copies of inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnxruntime as ort

from bench.records import Device, Provider
from bench.worker.feeds import Feed

GRAPH = "gpu_graph_id"
NO_GRAPH = "-1"


def wants_graph(provider: Provider, options: dict[str, str]) -> bool:
    """Whether the provider's options turn CUDA graphs on."""
    return options.get(provider.graph_option, "0").lower() in ("1", "true")


def graphs(
    provider: Provider, options: dict[str, str], session: ort.InferenceSession, device: Device | None
) -> Graphs | None:
    """The graphs of a session with these provider options; None if they do not turn CUDA graphs on."""
    if not wants_graph(provider, options):
        return None
    names = [output.name for output in session.get_outputs()]
    return Graphs(session, names, provider.device_memory, device.index if device else 0)


def without_graph(provider: Provider, options: dict[str, str]) -> ort.RunOptions | None:
    """Options for a plain run of a session; None if it has no graphs.

    A session with graphs records its first plain run, and returns no outputs from the next ones (onnxruntime 1.31.1).
    """
    return _run_options(NO_GRAPH) if wants_graph(provider, options) else None


class Graphs:
    """One recorded CUDA graph for each set of input shapes.

    A graph uses the memory addresses of its recording again, so inputs and outputs are in fixed buffers on the device.
    Every call copies its inputs to the device, replays the graph, and copies the outputs to the host.
    """

    def __init__(self, session: ort.InferenceSession, names: list[str], device: str, index: int) -> None:
        self.session, self.names, self.device, self.index = session, names, device, index
        self.recorded: dict[tuple[object, ...], _Graph] = {}

    def bind(self, feed: Feed) -> Callable[[], list[Any]]:
        """A function that runs this feed; the first call with new shapes also records the graph."""
        arrays = {name: np.ascontiguousarray(array) for name, array in feed.items()}
        return partial(self._run, arrays)

    def _run(self, arrays: Feed) -> list[Any]:
        # Sorted, so that the order of the inputs does not matter.
        key = tuple((name, array.shape, array.dtype.str) for name, array in sorted(arrays.items()))
        if key not in self.recorded:
            self.recorded[key] = _Graph(self, arrays, str(len(self.recorded)))
        return self.recorded[key](arrays)


class _Graph:
    def __init__(self, owner: Graphs, arrays: Feed, number: str) -> None:
        self.session = owner.session
        place = (owner.device, owner.index)
        # Buffers need the outputs' shapes, and only a run without buffers shows them.
        plain_outputs = self.session.run(owner.names, arrays, _run_options(NO_GRAPH))
        self.inputs = {name: ort.OrtValue.ortvalue_from_numpy(array, *place) for name, array in arrays.items()}
        self.outputs = [ort.OrtValue.ortvalue_from_numpy(array, *place) for array in plain_outputs]
        self.binding = self.session.io_binding()
        for name, value in self.inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        for name, value in zip(owner.names, self.outputs, strict=True):
            self.binding.bind_ortvalue_output(name, value)
        self.options = _run_options(number)

    def __call__(self, arrays: Feed) -> list[Any]:
        for name, array in arrays.items():
            self.inputs[name].update_inplace(array)
        self.session.run_with_iobinding(self.binding, self.options)
        # The copy to the host waits for the graph, so that the call ends when its outputs are readable.
        return [value.numpy() for value in self.outputs]


def _run_options(graph: str) -> ort.RunOptions:
    options = ort.RunOptions()
    # The provider records a graph under this number, or replays it; -1 turns graphs off for the run.
    options.add_run_config_entry(GRAPH, graph)
    return options
