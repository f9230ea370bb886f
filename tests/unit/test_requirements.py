"""Requirements are parsed before an installer sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
from matrices import matrix_text

from bench.declare.matrix import parse
from bench.declare.requirements import exact, is_exact, mistake_in
from bench.errors import MatrixError, RuntimeSetupError
from bench.prepare import installers

OPTIONS = [
    "-r evil.txt",
    "--find-links=http://evil",
    "-e .",
    "numpy --find-links=http://evil",
    "numpy\n--index-url=http://evil",
    " --pre",
    "numpy==1.0 -r evil.txt",
]


@pytest.mark.parametrize("text", OPTIONS)
def test_an_option_of_the_installer_is_no_requirement(text):
    assert mistake_in(text) == "holds an option of the installer"
    with pytest.raises(RuntimeSetupError, match="option of the installer"):
        installers.ways(Path("/x/python"), ["numpy", text], extends=False)


@pytest.mark.parametrize("text", ["", "numpy==", "a b", "@file", "$(touch x)", "numpy;;", "https://evil/x.tar.gz"])
def test_what_is_no_requirement_is_told(text):
    assert mistake_in(text) == "is no requirement"


@pytest.mark.parametrize(
    "text",
    [
        "onnxruntime==1.31.1",
        "torch",
        "onnxruntime-gpu[cuda,cudnn]==1.31.1",
        'numpy>=1.26,<3; python_version < "3.14"',
        "mine @ file:///srv/mine-1.0-py3-none-any.whl",
        "./wheels/mine-1.0-py3-none-any.whl",
        "wheels/mine-1.0-py3-none-any.whl",
        "/srv/my-package",
        "~/my package",
        r"C:\wheels\mine.whl",
    ],
)
def test_names_urls_and_paths_are_requirements(text):
    assert mistake_in(text) == ""


def test_a_matrix_with_an_option_in_a_requirement_is_refused_with_its_place():
    text = matrix_text(('requires = ["onnxruntime==1.31.1"]', 'requires = ["numpy --find-links=http://evil"]'))
    with pytest.raises(MatrixError) as caught:
        parse(text)
    assert "in runtimes.ort.requires holds an option of the installer" in str(caught.value)
    assert "write a name with its version" in str(caught.value)


def test_the_package_of_a_record_is_a_name_and_an_exact_version_or_nothing():
    assert exact("torch", "2.13.0+cpu") == "torch==2.13.0"
    assert exact("onnxruntime_gpu", "1.31.1") == "onnxruntime_gpu==1.31.1"
    hostile = ("--find-links=http://evil", "evil @ file:///x", "-r x", "", "a;b", "a\nb", "a[b]")
    assert [exact(name, "1.0") for name in hostile] == [None] * len(hostile)
    assert [exact("numpy", version) for version in ("", "1.*", "1.0 --pre", ">=1", "1.0; x", "file:///x")] == [None] * 6


def test_an_exact_requirement_has_one_version_and_no_more():
    assert is_exact("numpy==2.4.6")
    assert is_exact("onnxruntime-gpu[cuda,cudnn]==1.31.1")
    wide = (
        "numpy",
        "numpy>=2",
        "numpy==2.*",
        "numpy==2,<3",
        "numpy @ file:///x",
        "numpy===2",
        "./x.whl",
    )
    assert [text for text in wide if is_exact(text)] == []
