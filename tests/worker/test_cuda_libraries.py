"""Which libraries of CUDA are loaded for onnxruntime from the folder of another runtime."""

from __future__ import annotations

import ctypes
from pathlib import Path

import onnxruntime as ort
import pytest

from bench.records import Provider
from bench.worker.onnx_runtime import cuda_libraries, sessions

BLAS, DNN = Path("nvidia/cu13/lib/libcublas.so.13"), Path("nvidia/cudnn/lib/libcudnn.so.9")


def folder(path: Path, *libraries: Path) -> Path:
    for library in libraries:
        (path / library).parent.mkdir(parents=True, exist_ok=True)
        (path / library).write_bytes(b"no library")
    return path


def test_a_library_beside_onnxruntime_is_left_to_it_and_others_come_from_the_first_folder_that_has_them(tmp_path):
    own = folder(tmp_path / "own", DNN)
    base, later = folder(tmp_path / "base", BLAS, DNN), folder(tmp_path / "later", BLAS)
    places = ["", str(tmp_path / "nowhere"), str(own), str(base), str(later)]
    assert list(cuda_libraries.found([BLAS, DNN], own, places)) == [base / BLAS]


def test_what_nobody_has_is_left_out(tmp_path):
    assert list(cuda_libraries.found([BLAS], tmp_path, [str(tmp_path)])) == []


@pytest.fixture
def cuda13(tmp_path, monkeypatch):
    """An onnxruntime for CUDA 13 in one folder, whose libraries are in another; the libraries that were loaded."""
    loaded: list[str] = []
    base = folder(tmp_path / "base", BLAS, DNN)
    monkeypatch.setattr(ort, "__file__", str(tmp_path / "own" / "onnxruntime" / "__init__.py"))
    monkeypatch.setattr(ort, "_get_nvidia_dll_paths", lambda *_: [BLAS.parts, DNN.parts], raising=False)
    monkeypatch.setattr(ort, "preload_dlls", lambda: loaded.append("onnxruntime's own"), raising=False)
    monkeypatch.setattr(cuda_libraries.sys, "path", [str(tmp_path / "own"), str(base)])
    monkeypatch.setattr(ctypes, "CDLL", lambda path: loaded.append(Path(path).name))
    return loaded


def test_a_provider_with_cuda_has_them_before_onnxruntime_looks_for_its_own(cuda13):
    sessions.load_libraries(Provider("CUDAExecutionProvider", uses_cuda=True))
    assert cuda13 == ["libcublas.so.13", "libcudnn.so.9", "onnxruntime's own"]


def test_a_library_that_cannot_be_loaded_stops_nothing(cuda13, monkeypatch):
    def fails(path):
        raise OSError(f"{path}: invalid ELF header")

    monkeypatch.setattr(ctypes, "CDLL", fails)
    sessions.load_libraries(Provider("CUDAExecutionProvider", uses_cuda=True))
    assert cuda13 == ["onnxruntime's own"]


def test_a_provider_without_cuda_loads_nothing(cuda13):
    sessions.load_libraries(Provider("CPUExecutionProvider"))
    assert cuda13 == []


def test_an_onnxruntime_that_does_not_name_its_libraries_wants_none(monkeypatch):
    monkeypatch.delattr(ort, "_get_nvidia_dll_paths", raising=False)
    assert cuda_libraries.wanted() == []


def test_this_onnxruntime_names_them_as_paths():
    # Whether it names any depends on what it was built with.
    assert all(path.parts[0] == "nvidia" for path in cuda_libraries.wanted())
