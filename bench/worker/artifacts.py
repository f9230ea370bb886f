"""Builds the artifact of a recipe, and the inputs of a workload with their reference outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.records import Build, Built, Refer
from bench.worker import contracts, families, feeds, formats
from bench.worker.contracts import Family
from bench.worker.recipes import Context


def build(order: Build) -> Built:
    """Write the artifact of a recipe into `order.out`; ValueError names an unknown recipe or option."""
    recipes = formats.recipes(order.format)
    name = order.recipe.name
    if name not in recipes:
        raise ValueError(f"unknown recipe {name!r}; the format {order.format} has {', '.join(sorted(recipes))}")
    parent = Path(order.parent) if order.parent else None
    context = Context(families.named(order.family), order.source, parent, order.inputs, order.opset)
    # The folder is temporary: the parent renames it when it is complete, so files are written in place.
    return Built(recipes[name](context, Path(order.out), **order.recipe.options))


def refer(order: Refer) -> Built:
    """Write a workload's inputs, their FP32 reference outputs, and the name of the library that computed them.

    The files are `inputs.npz`, `outputs.npz` and `reference.json` in the folder `order.out`.
    """
    family, out = families.named(order.family), Path(order.out)
    batches = family.make_inputs(order.source, order.sizes, order.inputs)
    outputs, computed_by, facts = _answers(family, order, batches)
    feeds.save(out / "inputs.npz", batches)
    feeds.save(out / "outputs.npz", outputs)
    # Beside the reference, because the workers that are compared with it know only its folder.
    facts_text = json.dumps({"by": computed_by, **facts}, ensure_ascii=False)
    (out / "reference.json").write_text(facts_text, encoding="utf-8")
    return Built(family.describe_inputs(order.source, order.sizes, order.inputs))


def _answers(family: Family, order: Refer, batches: list[feeds.Feed]) -> tuple[list[feeds.Feed], str, dict[str, Any]]:
    """The reference outputs, what computed them, and for models that generate the facts that the check needs."""
    if family.MANIFEST.task == "forward":
        return *contracts.forward(family).reference(order.source, batches), {}
    generating = contracts.generating(family)
    outputs, computed_by = generating.reference(order.source, batches, order.sizes["new"])
    return outputs, computed_by, generating.facts(order.source, batches, outputs)
