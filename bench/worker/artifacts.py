"""Builds the artifact of a recipe, and the inputs of a workload with their reference outputs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.records import Build, Built, Refer, Tolerance, Unpack
from bench.worker import contracts, families, feeds, formats, onnx_outputs, output_facts, output_values, parity
from bench.worker.contracts import Family, ForwardFamily
from bench.worker.families._onnx_inputs import OnnxInputs
from bench.worker.output_facts import OutputFacts
from bench.worker.recipes import Context

# Two runs of one session differ at most by the order of sums in several threads: about 1e-6.
RANDOM = Tolerance(max_relative_error=1e-5)
"""Two references of one batch that differ by more come from a model that is random."""


def build(order: Build) -> Built:
    """Write the artifact of a recipe into `order.out`; ValueError names an unknown recipe or option."""
    recipes = formats.recipes(order.format)
    name = order.recipe.name
    if name not in recipes:
        raise ValueError(f"unknown recipe {name!r}; the format {order.format} has {', '.join(sorted(recipes))}")
    parent = Path(order.parent) if order.parent else None
    context = Context(families.named(order.family), order.source, parent, order.inputs, order.opset, order.workloads)
    # The folder is temporary: the parent renames it when it is complete, so files are written in place.
    return Built(recipes[name](context, Path(order.out), **order.recipe.options))


def refer(order: Refer) -> Built:
    """Write a workload's inputs, their FP32 reference outputs, and the name of the library that computed them.

    The files are `inputs.npz`, `outputs.npz` and `reference.json` in the folder `order.out`.
    """
    family, out = families.named(order.family), Path(order.out)
    if order.source.kind == "onnx":
        onnx_outputs.refuse_unreadable(Path(order.source.path))
    batches = family.make_inputs(order.source, order.sizes, order.inputs)
    outputs, computed_by, facts = _answers(family, order, batches)
    feeds.save(out / "inputs.npz", batches)
    feeds.save(out / "outputs.npz", outputs)
    # Beside the reference, because the workers that are compared with it know only its folder.
    facts_text = json.dumps({"by": computed_by, **facts}, ensure_ascii=False)
    (out / "reference.json").write_text(facts_text, encoding="utf-8")
    return Built(family.describe_inputs(order.source, order.sizes, order.inputs))


def unpack(order: Unpack) -> Built:
    """Make a folder of a source that is a single file; notes say what the file held."""
    return Built(contracts.unpacking(families.named(order.family)).unpack(order.source, Path(order.out)))


def _answers(family: Family, order: Refer, batches: list[feeds.Feed]) -> tuple[list[feeds.Feed], str, dict[str, Any]]:
    """The reference outputs, what computed them, and for models that generate the facts that the check needs."""
    if family.MANIFEST.task == "forward":
        return _forward_answers(contracts.forward(family), order, batches)
    generating = contracts.generating(family)
    outputs, computed_by = generating.reference(order.source, batches, order.sizes["new"])
    return outputs, computed_by, generating.facts(order.source, batches, outputs)


def _forward_answers(
    family: ForwardFamily, order: Refer, batches: list[feeds.Feed]
) -> tuple[list[feeds.Feed], str, dict[str, Any]]:
    """The reference outputs of every batch, what computed them, and the facts about each output."""
    # The first batch twice: a model whose own answers differ cannot be checked by any reference.
    given, computed_by = family.reference(order.source, [*batches, batches[0]])
    outputs = [output_values.arrays(batch) for batch in given]
    known = dict.fromkeys(family.MANIFEST.class_scores, OutputFacts(class_scores=True))
    if order.source.kind == "onnx":
        inputs = OnnxInputs(order.source, order.sizes, order.inputs)
        known |= onnx_outputs.facts(Path(order.source.path), inputs.output_axes(), inputs.sizes.samples)
    for name in _random(family, batches[0], outputs[0], outputs[-1]):
        known[name] = replace(output_facts.of(known, name), random=True)
    return outputs[:-1], computed_by, {"outputs": output_facts.to_json(known)}


def _random(family: ForwardFamily, feed: feeds.Feed, first: feeds.Feed, second: feeds.Feed) -> list[str]:
    """The names of the outputs that differ between two references of one batch by more than FP32 rounding."""
    pair = [[family.comparable(outputs, feed)] for outputs in (first, second)]
    compared = parity.compare(pair[0], pair[1], RANDOM, "itself")
    return [output.name for output in compared.outputs if parity.strain(output, RANDOM) > 1]
