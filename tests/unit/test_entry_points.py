"""Other packages add families, engines and formats by entry points; none of them is imported."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.declare import matrix as matrices
from bench.declare import registry
from bench.declare.plan import whole_plan
from bench.errors import PluginError
from bench.prepare import worker_code
from bench.prepare.worker_code import build_digest, stage
from tests.plugins import install, install_example

AN_ENGINE = "import a_library_that_is_nowhere\nMANIFEST = EngineManifest(format='onnx')\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder that Python finds packages in."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    registry.forget()
    yield folder
    registry.forget()


@pytest.fixture
def added(site: Path) -> Callable[..., None]:
    """`added("a-package", engines={"x": "a_package.x"}, files={…})` installs a package."""

    def add(name: str, files: dict[str, str], **points: dict[str, str]) -> None:
        install(site, name, {f"touchstone.{kind}": said for kind, said in points.items()}, files)
        importlib.invalidate_caches()
        registry.forget()

    return add


@pytest.fixture
def example(site: Path) -> Path:
    """The example is installed."""
    install_example(site)
    importlib.invalidate_caches()
    registry.forget()
    return site


A_MATRIX = """schema = 1
[models.small]
family = "linear"
source = "config:linear.json"
workloads = [{}, { batch = 4 }]
[precisions.fp32]
linear = "npz-fp32"
text-encoder = "fp32"
[precisions.rounded]
linear = { recipe = "npz-rounded", bias = false }
[runtimes.plain]
requires = ["numpy==2.4.6"]
[baselines.numpy]
engine = "numpy"
runtime = "plain"
[baselines.torch]
engine = "torch"
mode = "eager"
runtime = "plain"
"""


def test_a_matrix_may_name_what_another_package_adds_and_nothing_of_it_is_imported(example):
    planned = whole_plan(matrices.parse(A_MATRIX))
    cells = planned.cells
    ours = [cell for cell in cells if cell.target == "numpy"]
    assert [cell.id for cell in ours] == [
        "small/fp32/numpy/b1",
        "small/fp32/numpy/b4",
        "small/rounded/numpy/b1",
        "small/rounded/numpy/b4",
    ]
    assert {cell.excluded for cell in ours} == {None}
    assert [cell.tolerance.max_relative_error for cell in ours] == [1e-5, 1e-5, 0.01, 0.01]
    assert ours[2].recipe.options == {"bias": False}
    assert ours[2].artifact_name == "small/rounded/npz"
    assert {cell.target for cell in cells} == {"numpy"}
    idle = "baselines.torch in matrix.toml has no cell: engine 'torch' does not run family 'linear'"
    assert planned.warnings == (idle,)
    assert not [name for name in sys.modules if name.startswith("touchstone_example")]


def test_the_whole_package_is_staged_with_the_names_of_its_modules(example, tmp_path):
    code = stage(tmp_path / "cache")
    assert json.loads((code / worker_code.PLUGINS).read_text(encoding="utf-8")) == {
        "engines": {"numpy": "touchstone_example.engine"},
        "families": {"linear": "touchstone_example.family"},
        "formats": {"npz": "touchstone_example.format"},
    }
    assert (code / "touchstone_example" / "format.py").is_file()


def test_without_it_other_code_is_staged(site, tmp_path):
    before = stage(tmp_path / "cache")
    install_example(site)
    registry.forget()
    assert stage(tmp_path / "cache") != before


@pytest.mark.parametrize("edited", ["family.py", "format.py"])
def test_an_edit_of_its_code_makes_its_artifacts_anew_and_no_others(example, edited):
    """The format imports the family, so an edit there counts by either way."""
    before = build_digest("linear", "npz"), build_digest("text-encoder", "onnx")
    path = example / "touchstone_example" / edited
    path.write_text(path.read_text(encoding="utf-8") + "\n# A comment.\n", encoding="utf-8")
    assert (build_digest("linear", "npz"), build_digest("text-encoder", "onnx")) == before
    path.write_text(path.read_text(encoding="utf-8") + "\nX = 1\n", encoding="utf-8")
    assert build_digest("linear", "npz") != before[0]
    assert build_digest("text-encoder", "onnx") == before[1]


def test_the_digest_of_staged_code_is_that_of_the_installed(example, tmp_path):
    assert build_digest("linear", "npz", stage(tmp_path / "cache") / "bench") == build_digest("linear", "npz")


def test_a_module_of_its_own_and_a_package_within_a_package_are_found(added, tmp_path):
    files = {"alone.py": AN_ENGINE, "outer/__init__.py": "", "outer/inner/__init__.py": AN_ENGINE}
    added("two", files, engines={"alone": "alone", "inner": "outer.inner"})
    assert {"alone", "inner"} <= set(registry.engines())
    code = stage(tmp_path / "cache")
    assert (code / "alone.py").is_file()
    assert (code / "outer" / "inner" / "__init__.py").is_file()


# --- what cannot be taken ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module", "text", "message"),
    [
        (
            "mine",
            "mine.engin",
            AN_ENGINE,
            "the entry point 'mine' of touchstone.engines in the package my-own 1.0 names the module 'mine.engin', and "
            "there is no such file; correct the entry point, or remove the package",
        ),
        (
            "ort",
            "mine.engine",
            AN_ENGINE,
            "the entry point 'ort' of touchstone.engines in the package my-own 1.0 has a name that is taken; "
            "touchstone-bench itself has it: rename one, or remove a package",
        ),
        (
            "Mine!",
            "mine.engine",
            AN_ENGINE,
            "the entry point 'Mine!' of touchstone.engines in the package my-own 1.0 has no usable name; use ",
        ),
        (
            "mine",
            "bench.worker.engines.ort",
            AN_ENGINE,
            "names 'bench.worker.engines.ort'; name a module of the package",
        ),
        ("mine", "mine.engine:Engine", AN_ENGINE, "names 'mine.engine:Engine'; name a module of the package itself"),
        (
            "mine",
            "mine.engine",
            "MANIFEST = EngineManifest(format='onnx', profile=True)",
            "MANIFEST in mine.engine (entry point 'mine' of touchstone.engines in my-own 1.0) has no field 'profile'; "
            "did you mean 'profiles'?",
        ),
        (
            "mine",
            "mine.engine",
            "",
            "mine.engine (entry point 'mine' of touchstone.engines in my-own 1.0) has no MANIFEST",
        ),
        ("mine", "mine.engine", "def (", "(entry point 'mine' of touchstone.engines in my-own 1.0) cannot be read: "),
    ],
)
def test_a_broken_one_is_one_sentence_with_the_package_and_the_entry_point(added, name, module, text, message):
    added("my-own", {"mine/__init__.py": "", "mine/engine.py": text}, engines={name: module})
    with pytest.raises(PluginError) as raised:
        registry.engines()
    assert message in str(raised.value)


def test_two_packages_cannot_have_one_name(added):
    for package in ("first", "second"):
        added(package, {f"{package}.py": AN_ENGINE}, engines={"same": package})
    with pytest.raises(
        PluginError, match=r"in the package second 1\.0 has a name that is taken; the package first 1\.0"
    ):
        registry.engines()
