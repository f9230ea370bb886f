"""Matrix files for tests: a whole one, and the same with something said differently."""

from __future__ import annotations

from bench.declare.matrix import Matrix, parse

MATRIX = """\
schema = 1

[models.minilm]
family = "text-encoder"
source = "config:bert-base"
workloads = [{ batch = 1, sequence = 128 }, { batch = 8, sequence = 128 }]

[models.vit]
family = "image-classifier"
source = "config:vit-tiny"

[precisions.fp32]
text-encoder = "fp32"
image-classifier = "fp32"
torch = "fp32"

[precisions.int8]
text-encoder = "dynamic-int8"
torch = { text-encoder = "dynamic-int8" }

[runtimes.ort]
requires = ["onnxruntime==1.31.1"]

[runtimes.build]
requires = ["torch==2.13.0"]

[providers.cpu]
ep = "CPUExecutionProvider"

[baselines.torch-eager]
engine = "torch"
mode = "eager"
control = true
"""


def matrix_text(*changes: tuple[str, str], more: str = "") -> str:
    """The matrix with each first string, which must be there, replaced by its second, and `more` at its end."""
    text = MATRIX
    for old, new in changes:
        assert old in text, f"the matrix of the tests does not say {old!r}"
        text = text.replace(old, new, 1)
    return text + more


def a_matrix(*changes: tuple[str, str], more: str = "") -> Matrix:
    """The matrix, checked."""
    return parse(matrix_text(*changes, more=more))


def of_matrix(providers: str = "[providers.cpu]") -> Matrix:
    """A matrix with these providers."""
    return parse(f"""schema = 1
[models.m]
family = "onnx-file"
source = "onnx:m.onnx"
[precisions.fp32]
onnx-file = "fp32"
[runtimes.build]
requires = ["onnx"]
{providers}
""")
