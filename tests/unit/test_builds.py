"""What cells need is prepared beside each other: a failure is that of its own cells, and nothing is made twice."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from builders import a_cell
from test_targets import PLAIN
from test_workshop import code  # noqa: F401 - a fixture

from bench.declare.matrix import Matrix, Model
from bench.declare.targets import Runtime, Target
from bench.errors import RuntimeSetupError
from bench.prepare import builds, environments, probe
from bench.prepare.environments import Environment
from bench.prepare.probe import ProbedTargets, new_targets
from bench.progress import Quiet
from bench.records import Cell, Recipe, RuntimeRecord, TargetFacts
from bench.worker_process import Worker

CONFIG = '{"model_type": "llama"}'
RUNTIMES = ("build", "ort", "optimum")


@pytest.fixture
def asked(monkeypatch) -> Counter:
    """Counts what the workers are asked for: the recipe, or the kind of the order."""
    count: Counter = Counter()
    ask = Worker.ask

    def noted(self: Worker, order, limit_s: float):
        recipe = getattr(order, "recipe", None)
        count[recipe.name if recipe else type(order).__name__] += 1
        return ask(self, order, limit_s)

    monkeypatch.setattr(Worker, "ask", noted)
    return count


@pytest.fixture
def prepared(tmp_path, code, monkeypatch, asked):  # noqa: F811
    """`prepared(cells, broken_runtime=…, absent=…)`: prepare them with workers that are a small program."""
    (tmp_path / "config.json").write_text(CONFIG, encoding="utf-8")
    record = RuntimeRecord("x", ("torch==2.13.0",), "3.11.7", {"torch": "2.13.0"}, "0" * 16)

    def run(*cells: Cell, broken_runtime: str = "", absent: str = "", crash: str = "") -> builds.Prepared:
        def ensure(runtime: Runtime, *_: object) -> Environment:
            if runtime.name == broken_runtime:
                raise RuntimeSetupError("no network", "plug it in")
            return Environment(record, Path(sys.executable))

        def facts(target: Target, *_: object) -> TargetFacts:
            if target.name == absent:
                return TargetFacts(False, kind="no-device", message="it is not here")
            return TargetFacts(True)

        monkeypatch.setattr(environments, "find", lambda *_: None)
        monkeypatch.setattr(environments, "ensure", ensure)
        monkeypatch.setattr(probe, "probe", facts)
        if crash:
            main = code / "bench" / "worker" / "__main__.py"
            dies = f"    if {crash!r} in line:\n        import os; os.abort()\n"
            text = main.read_text(encoding="utf-8").replace("    order = json", dies + "    order = json")
            main.write_text(text, encoding="utf-8")
        models = {cell.model: Model(cell.model, "text-generator", "config:config.json") for cell in cells}
        targets = {cell.target: Target(cell.target, "ort-generate", "ort") for cell in cells}
        matrix = Matrix(
            place=str(tmp_path / "matrix.toml"),
            text="",
            models=models,
            precisions={},
            targets=targets,
            runtimes={name: Runtime(name, ("x",)) for name in RUNTIMES},
            excludes=(),
        )
        found: ProbedTargets = new_targets(matrix, PLAIN, tmp_path / "cache", tmp_path / "logs", Quiet(), code)
        return builds.prepare(matrix, cells, found, tmp_path / "cache", tmp_path / "logs", Quiet())

    return run


def cells_of(model: str, *recipes: str, target: str = "cpu") -> list[Cell]:
    return [
        a_cell(f"{model}/{recipe}/{target}/b1", family="text-generator", recipe=Recipe(recipe), format="genai")
        for recipe in recipes
    ]


def test_models_and_precisions_are_built_once_each_whatever_runs_beside(prepared, asked):
    same = cells_of("a", "genai-int8", target="other")
    cells = [*cells_of("a", "genai-fp32", "genai-int8"), *cells_of("b", "genai-fp32"), *same]
    done = prepared(*cells)
    assert done.failures == {}
    assert set(done.references) == {("a", "b1"), ("b", "b1")}
    assert asked == {"Refer": 2, "genai-fp32": 2, "genai-int8": 1}


def test_a_build_that_crashes_fails_its_own_cells_and_no_other(prepared):
    cells = cells_of("a", "genai-fp32", "genai-int8")
    done = prepared(*cells, crash="genai-int8")
    assert list(done.failures) == ["a/genai-int8/cpu/b1"]
    assert done.failures["a/genai-int8/cpu/b1"].status == "crashed"
    assert len(done.artifacts) == 1


def test_a_runtime_that_cannot_be_made_fails_the_cells_that_are_built_in_it(prepared, asked):
    done = prepared(*cells_of("a", "genai-fp32"), broken_runtime="build")
    (failure,) = done.failures.values()
    assert (failure.stage, failure.remedy) == ("runtime", "plug it in")
    assert asked == {}


def test_nothing_is_built_for_a_target_that_is_not_here_and_its_cells_say_that(prepared, asked):
    done = prepared(*cells_of("a", "genai-int8", target="gone"), *cells_of("a", "genai-fp32"), absent="gone")
    assert asked == {"Refer": 1, "genai-fp32": 1}
    assert {name: failure.stage for name, failure in done.failures.items()} == {"a/genai-int8/gone/b1": "target"}


def test_an_error_of_the_preparation_itself_ends_all_of_it(prepared, monkeypatch):
    def breaks(*_: object) -> None:
        raise MemoryError("of this program")

    monkeypatch.setattr(builds._Models, "artifact", breaks)
    with pytest.raises(MemoryError, match="of this program"):
        prepared(*cells_of("a", "genai-fp32", "genai-int8"), *cells_of("b", "genai-fp32"))


def test_the_runtime_that_builds_is_made_beside_the_probes_but_not_for_a_target_that_cannot_be_here(
    prepared, monkeypatch
):
    asked: list[str] = []
    ensure = probe.EnvironmentPool.ensure

    def noted(self, name: str):
        asked.append(name)
        return ensure(self, name)

    monkeypatch.setattr(probe.EnvironmentPool, "ensure", noted)
    prepared(*cells_of("a", "genai-fp32"), absent="cpu")
    assert "build" in asked
    asked.clear()
    monkeypatch.setattr(probe, "reason_not_to_install", lambda *_: TargetFacts(False, kind="no-wheel"))
    prepared(*cells_of("a", "genai-fp32"))
    assert "build" not in asked
