"""What the worker's files declare is read without importing them, and says what they do when they are imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.declare import registry

FAMILIES, ENGINES = sorted(registry.families()), sorted(registry.engines())


def a_worker(tmp_path: Path, monkeypatch, **files: str) -> None:
    """A worker's folder of these files, `families/x.py` written as `families__x`."""
    for name, text in files.items():
        path = tmp_path / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(registry, "WORKER", tmp_path)
    for read in (registry.families, registry.engines, registry.recipes, registry.formats):
        monkeypatch.setattr(registry, read.__name__, read.__wrapped__)


A_FAMILY = """
import a_library_that_is_nowhere
BUILD_RUNTIME = "build"
SIZES = {"batch": 1}
LABELS = {"batch": "b"}
RATES = {"items": ["batch"]}
OPSET: int = 17
DIMENSIONS = {"batch": "batch_size"}
COMPUTED = len("not a literal")
lower = 3
"""


def test_the_known_families_and_engines_are_those_that_have_a_file():
    assert {"text-encoder", "image-classifier", "onnx-file"} <= set(FAMILIES)
    assert set(ENGINES) >= {"ort", "torch"}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_rate_and_label_of_a_family_speaks_of_sizes_that_it_has(name):
    family = registry.families()[name]
    used = {size for sizes in family.rates.values() for size in sizes} | set(family.labels)
    assert used <= set(family.sizes)
    assert family.rates, "the first rate is the unit of throughput"


@pytest.mark.parametrize("name", FAMILIES)
def test_two_sizes_of_a_family_have_different_labels(name):
    labels = [registry.families()[name].labels.get(size, size) for size in registry.families()[name].sizes]
    assert len(labels) == len(set(labels))


def test_an_engine_that_makes_precisions_itself_says_which():
    for engine in registry.engines().values():
        assert engine.format or engine.recipes


def test_the_recipes_of_the_build_are_known_with_their_options():
    recipes = registry.recipes("onnx")
    assert {"fp32", "fp16", "dynamic-int8", "static-qdq-int8"} <= set(recipes)
    assert recipes["fp32"] == ()


def test_the_number_format_of_a_recipe_is_the_last_word_of_its_name():
    formats = {name.rsplit("-", 1)[-1] for name in registry.recipes("onnx")}
    assert formats <= {"fp32", "fp16", "bf16", "int8", "int4", "uint8"}


def test_reading_a_file_does_not_import_it(tmp_path, monkeypatch):
    a_worker(tmp_path, monkeypatch, families__a_family=A_FAMILY)
    family = registry.families()["a-family"]
    assert (family.opset, family.rates, family.open_sizes, family.inputs) == (17, {"items": ["batch"]}, False, None)


def test_a_file_that_begins_with_an_underscore_is_no_family(tmp_path, monkeypatch):
    a_worker(tmp_path, monkeypatch, families___helpers="X = 1", families__one=A_FAMILY)
    assert list(registry.families()) == ["one"]


def test_a_recipes_options_are_its_keyword_only_arguments(tmp_path, monkeypatch):
    text = """
def half(parent, out, context): ...
def static(parent, out, context, *, per_channel=True, samples=32): ...
RECIPES = {"fp16": half, "static-int8": static}
"""
    a_worker(tmp_path, monkeypatch, build=text)
    assert registry.recipes("onnx") == {"fp32": (), "fp16": (), "static-int8": ("per_channel", "samples")}


def test_extra_engines_come_from_the_environment_only(strange_engines, monkeypatch):
    assert "fake" in registry.engines()
    monkeypatch.delenv(registry.EXTRA_ENGINES)
    registry.engines.cache_clear()
    assert "fake" not in registry.engines()
