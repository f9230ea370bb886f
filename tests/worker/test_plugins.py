"""Plugins that are none, on the real onnxruntime: every way to be of no use is told from the others."""

from __future__ import annotations

import msgspec
import pytest

from bench.records import Provider
from bench.worker.onnx_runtime import devices, plugins
from bench.worker.refusal import Refusal


@pytest.fixture
def refusal_of(tmp_path, monkeypatch):
    """`refusal_of(code)`: what stands in the way of a plugin whose module holds this code."""
    monkeypatch.syspath_prepend(tmp_path)

    def refusal(code: str | None, name: str) -> Refusal:
        if code is not None:
            (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        with pytest.raises(Refusal) as refused:
            devices.find(Provider("StrawExecutionProvider", plugin=name, hint="ask the straw works"))
        assert refused.value.status == "unavailable"
        assert "ask the straw works" in refused.value.remedy or refused.value.kind == "version"
        assert str(tmp_path) not in refused.value.message
        return refused.value

    return refusal


def gives(path: object) -> str:
    return f"def get_library_path():\n    return {str(path)!r}\n"


def test_a_module_that_is_not_there_is_not_installed(refusal_of):
    refusal = refusal_of(None, "onnxruntime_ep_straw")
    assert refusal.kind == "not-installed"
    assert "onnxruntime_ep_straw" in refusal.message


def test_a_module_that_lacks_another_one_is_installed_and_does_not_load(refusal_of):
    refusal = refusal_of("import a_package_of_straw", "lacking")
    assert refusal.kind == "not-loaded"
    assert "a_package_of_straw" in refusal.message


def test_a_module_that_raises_does_not_load(refusal_of):
    assert "no licence" in refusal_of("raise OSError('no licence')", "raising").message


def test_a_module_that_names_no_library_is_no_plugin(refusal_of):
    refusal = refusal_of("answer = 42", "unrelated")
    assert refusal.kind == "not-loaded"
    assert "get_library_path" in refusal.message


def test_a_module_may_name_its_library_as_other_makers_do(refusal_of):
    refusal = refusal_of(gives("/nowhere/libstraw.so").replace("get_library_path", "library_path"), "of_others")
    assert (refusal.kind, "libstraw.so is missing" in refusal.message) == ("not-loaded", True)


def test_a_library_that_is_missing_is_named(refusal_of):
    refusal = refusal_of(gives("/nowhere/libstraw.so"), "hollow")
    assert (refusal.kind, "libstraw.so is missing" in refusal.message) == ("not-loaded", True)


def test_a_library_of_text_does_not_load_and_the_loader_says_why(refusal_of, tmp_path):
    (tmp_path / "libstraw.so").write_text("straw", encoding="utf-8")
    refusal = refusal_of(gives(tmp_path / "libstraw.so"), "garbage")
    assert refusal.kind == "not-loaded"
    assert "libstraw.so: " in refusal.message


def test_a_real_library_that_is_no_plugin_is_told_as_such(refusal_of):
    refusal = refusal_of(gives(msgspec._core.__file__), "another_library")
    assert refusal.kind == "not-loaded"
    assert "CreateEpFactories" in refusal.message


@pytest.mark.parametrize(
    "words",
    [
        'ORT runtime version "1.24.1" is below the minimum required version "1.24.4".',
        "QNN EP requires ORT >= 1.24 (API 24). Host ORT is 1.23.2 (API 23).",
        "The requested API version [25] is not available, only API versions [1, 24] are supported in this build.",
    ],
)
def test_a_plugin_of_another_onnxruntime_says_that_the_versions_do_not_fit(refusal_of, tmp_path, monkeypatch, words):
    """As onnxruntime 1.23 and 1.24 said it of the real plugins."""
    (tmp_path / "libstraw.so").write_bytes(b"")

    def refuse(*_: str) -> None:
        raise RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : {words}")

    monkeypatch.setattr(plugins.ort, "register_execution_provider_library", refuse)
    refusal = refusal_of(gives(tmp_path / "libstraw.so"), "another_version")
    assert refusal.kind == "version"
    assert words in refusal.message


def test_an_onnxruntime_without_plugins_is_too_old(refusal_of, tmp_path, monkeypatch):
    (tmp_path / "libstraw.so").write_bytes(b"")
    monkeypatch.delattr(plugins.ort, "register_execution_provider_library")
    assert refusal_of(gives(tmp_path / "libstraw.so"), "too_new").kind == "version"


def test_a_library_that_is_missing_under_the_plugin_is_named(refusal_of, tmp_path, monkeypatch):
    library = tmp_path / "libstraw.so"
    library.write_bytes(b"")
    words = f"Failed to load library {library} with error: libhay.so.1: cannot open shared object file: No such file"

    def refuse(*_: str) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(plugins.ort, "register_execution_provider_library", refuse)
    assert "libstraw.so needs libhay.so.1" in refusal_of(gives(library), "leaning").message


def test_nothing_that_failed_counts_as_registered(refusal_of):
    refusal_of("answer = 42", "unrelated_again")
    assert plugins._registered == {}
