"""What a provider does differently is a key of its catalogue row: code names no provider but the CPU's, in one place.

ONNX Runtime itself treats that one as no other: every session has it, and what nobody else takes is computed there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.declare import catalogue
from bench.records import CPU_PROVIDER

PACKAGE = Path(__file__).parents[2] / "bench"
FILES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".html", ".js"})
ROWS = catalogue.rows()
EPS = re.compile(
    r"\w+ExecutionProvider\b|" + "|".join(map(re.escape, {row.plugin for row in ROWS.values() if row.plugin}))
)
ROW_NAMES = {name for name in ROWS if name != "cpu"}
"""`cpu` is a type of device too."""
OTHERS_WORDS = {
    # PyTorch's name for a device, and what is asked of its package.
    "worker/pytorch/loading.py": {"cuda"},
    "worker/pytorch/speech.py": {"cuda"},
    "worker/engines/torch.py": {"cuda"},
    # The key that a probe reports onnxruntime's own CUDA version under.
    "worker/onnx_runtime/probing.py": {"cuda"},
    # Targets of the exporter of onnxruntime-genai: a file is made for one, whatever provider runs it.
    "worker/formats/genai.py": {"cuda", "webgpu"},
    "worker/formats/_genai_trial.py": {"cuda"},
}
"""Strings that are equal to the name of a row and mean something else, by file."""


def literals(text: str) -> Iterator[str]:
    """The strings of a Python file that are no docstrings."""
    tree = ast.parse(text)
    docs = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def strings(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return list(literals(text)) if path.suffix == ".py" else [text]


def test_the_one_provider_that_code_names_is_the_cpus_in_one_place():
    named = [
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in FILES
        for text in strings(path)
        for name in EPS.findall(text)
    ]
    # The example of a module's name in the remedy for one that is none.
    named.remove(("declare/providers.py", "onnxruntime_ep_webgpu"))
    assert named == [("records/plan.py", CPU_PROVIDER)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_code_asks_which_row_of_the_catalogue_it_has(path):
    named = set(strings(path)) & ROW_NAMES
    assert named == OTHERS_WORDS.get(path.relative_to(PACKAGE).as_posix(), set())


def test_a_name_is_seen_and_a_docstring_is_none():
    text = '''"""Of CUDAExecutionProvider."""\nNAMES = {"CUDAExecutionProvider": f"on {x} and QNNExecutionProvider"}'''
    assert [name for said in literals(text) for name in EPS.findall(said)] == [
        "CUDAExecutionProvider",
        "QNNExecutionProvider",
    ]
