"""A runtime is made once and found again; an interpreter of the user's is used as it is, and what it lacks is named."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from bench.declare.matrix import Runtime
from bench.errors import DiskError, RuntimeSetupError
from bench.prepare import environments, installers, interpreters
from bench.prepare.environments import ensure, find, key
from bench.progress import Quiet

ORT = Runtime("ort", ("onnxruntime==1.31.1", "numpy==2.4.6"))
MINE = Runtime("mine", (), sys.executable)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="not on this system: a script as an interpreter")


class Spoken(Quiet):
    """Keeps the steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)


@pytest.fixture
def installs(tmp_path, monkeypatch) -> list[list[str]]:
    """The installer's commands; the environments are real, but pip puts nothing into them."""
    ran: list[list[str]] = []
    real = installers.run

    def command(words: list[str], *rest: object) -> None:
        if "venv" in words:
            real(words, *rest)
        elif "install" in words:
            ran.append(words)
            site = next(environments._folder(ORT, tmp_path).rglob("site-packages"))
            (site / "straw-1.5.dist-info").mkdir()
            (site / "straw-1.5.dist-info" / "METADATA").write_text("Name: straw\nVersion: 1.5\n", encoding="utf-8")

    monkeypatch.setattr(installers, "run", command)
    monkeypatch.setattr(installers, "_uv", lambda: None)
    return ran


def a_script(tmp_path: Path, text: str) -> Runtime:
    """A runtime whose interpreter is this shell script."""
    path = tmp_path / "python-of-straw"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return Runtime("straw", (), str(path))


# --- keys -------------------------------------------------------------------------------------------------------------


def test_the_order_of_requirements_and_the_name_do_not_matter():
    assert key(ORT) == key(Runtime("other", tuple(reversed(ORT.requires))))


def test_another_version_is_another_runtime():
    assert key(ORT) != key(Runtime("ort", ("onnxruntime==1.30.0", "numpy==2.4.6")))


def test_another_python_is_another_runtime(monkeypatch):
    before = key(ORT)
    monkeypatch.setattr(environments.platform, "python_version", lambda: "3.99.0")
    assert key(ORT) != before


def test_a_runtime_on_another_base_is_another_runtime():
    bases = [None, ORT, msgspec.structs.replace(ORT, requires=("onnxruntime==1.30.0",))]
    assert len({key(Runtime("more", ("straw==1",), extends="ort", base=base)) for base in bases}) == 3


# --- made once --------------------------------------------------------------------------------------------------------


def test_a_runtime_is_made_once_with_what_the_worker_needs(tmp_path, installs):
    assert find(ORT, tmp_path) is None
    ready = ensure(ORT, tmp_path, Quiet())
    assert {*ORT.requires, *interpreters.WORKER_NEEDS} <= set(installs[-1])
    count = len(installs)
    assert ensure(ORT, tmp_path, Quiet()) == ready == find(ORT, tmp_path)
    assert len(installs) == count


def test_a_runtime_records_every_package_and_no_path(tmp_path, installs):
    record = ensure(ORT, tmp_path, Quiet()).record
    assert record.packages == {"straw": "1.5"}
    assert record.python == platform.python_version()
    assert record.requires == ORT.requires
    assert str(tmp_path) not in msgspec.json.encode(record).decode()
    assert sys.executable not in msgspec.json.encode(record).decode()


def test_two_names_for_the_same_requirements_share_one_environment(tmp_path, installs):
    first = ensure(ORT, tmp_path, Quiet())
    count = len(installs)
    second = ensure(msgspec.structs.replace(ORT, name="second"), tmp_path, Quiet())
    assert second.executable == first.executable
    assert second.record.name == "second"
    assert len(installs) == count


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"name": "\xff"}'])
def test_an_environment_that_a_stopped_run_left_half_made_is_made_again(tmp_path, installs, content):
    folder = ensure(ORT, tmp_path, Quiet()).executable.parents[1]
    record = folder / environments.RECORD
    record.unlink() if content is None else record.write_bytes(content)
    (folder / "left over").write_bytes(b"")
    assert find(ORT, tmp_path) is None
    ensure(ORT, tmp_path, Quiet())
    assert not (folder / "left over").exists()


def test_an_environment_whose_interpreter_is_gone_is_made_again(tmp_path, installs):
    ready = ensure(ORT, tmp_path, Quiet())
    ready.executable.unlink()
    assert find(ORT, tmp_path) is None
    assert ensure(ORT, tmp_path, Quiet()).executable.exists()


def test_making_a_runtime_tells_what_is_installed_and_how_long_it_took(tmp_path, installs):
    progress = Spoken()
    ensure(ORT, tmp_path, progress)
    assert progress.steps[0] == "runtime ort: installing onnxruntime==1.31.1, numpy==2.4.6"
    assert "packages in" in progress.steps[-1]


def a_package(folder: Path, name: str, version: str) -> str:
    """A requirement: a package of this name and version, as a wheel that pip can install without an index."""
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return f"{name} @ {wheel.as_uri()}"


@pytest.fixture
def without_an_index(monkeypatch):
    """The worker's own packages are left out, so that nothing is fetched."""
    monkeypatch.setattr(interpreters, "INSTALLED", ())


def test_a_runtime_sees_the_packages_of_the_one_that_it_extends_after_its_own(tmp_path, without_an_index):
    base = Runtime("base", (a_package(tmp_path, "straw", "1.0"), a_package(tmp_path, "large", "7.0")))
    newer = a_package(tmp_path, "straw", "2.0")
    more = ensure(Runtime("more", (newer,), extends="base", base=base), tmp_path / "cache", Quiet())
    assert more.record.packages == {"straw": "2.0", "large": "7.0"}
    assert more.record.requires == (newer, base.requires[1])
    assert more.record.extends == "base"
    code = "import straw, large; print(straw.VERSION, large.VERSION)"
    assert subprocess.check_output([more.executable, "-c", code], text=True).split() == ["2.0", "7.0"]
    # The base keeps its own, and the large package is there once.
    assert find(base, tmp_path / "cache").record.packages == {"straw": "1.0", "large": "7.0"}
    assert len(list(tmp_path.rglob("site-packages/large.py"))) == 1


def test_a_runtime_whose_base_was_removed_is_made_again(tmp_path, without_an_index):
    base = Runtime("base", (a_package(tmp_path, "straw", "1.0"),))
    more = Runtime("more", (a_package(tmp_path, "hay", "1.0"),), extends="base", base=base)
    ensure(more, tmp_path / "cache", Quiet())
    shutil.rmtree(environments._folder(base, tmp_path / "cache"))
    assert find(more, tmp_path / "cache") is None
    assert ensure(more, tmp_path / "cache", Quiet()).record.packages == {"hay": "1.0", "straw": "1.0"}


@posix_only
def test_a_base_of_another_python_is_refused(tmp_path, without_an_index):
    answer = '["3.99", ["/nowhere"]]'
    base = a_script(tmp_path, f'case "$*" in *sysconfig*) echo \'{answer}\';; *) exec {sys.executable} "$@";; esac')
    more = Runtime("more", (a_package(tmp_path, "hay", "1.0"),), extends="straw", base=base)
    with pytest.raises(RuntimeSetupError, match=r"extends 'straw', which is Python 3\.99, not 3\."):
        ensure(more, tmp_path / "cache", Quiet())


def test_a_runtime_may_extend_an_interpreter_that_lacks_what_the_worker_needs(tmp_path, without_an_index, monkeypatch):
    monkeypatch.setattr(interpreters, "WORKER_NEEDS", ("a-package-of-straw>=2",))
    mine = Runtime("mine", python=sys.executable)
    with pytest.raises(RuntimeSetupError, match="lacks a-package-of-straw"):
        find(mine, tmp_path / "cache")
    more = Runtime("more", (a_package(tmp_path, "hay", "1.0"),), extends="mine", base=mine)
    assert ensure(more, tmp_path / "cache", Quiet()).record.packages["hay"] == "1.0"
    # Only what the runtime itself needs was installed, and nothing into the interpreter.
    assert find(more, tmp_path / "cache").record.packages["numpy"]


def test_the_packages_of_an_interpreter_are_read_again_for_the_runtimes_that_extend_it(tmp_path, without_an_index):
    base = ensure(Runtime("base", (a_package(tmp_path, "straw", "1.0"),)), tmp_path / "cache", Quiet())
    mine = Runtime("mine", python=str(base.executable))
    more = Runtime("more", (a_package(tmp_path, "hay", "1.0"),), extends="mine", base=mine)
    assert ensure(more, tmp_path / "cache", Quiet()).record.packages == {"hay": "1.0", "straw": "1.0"}
    for folder in base.executable.parents[1].rglob("straw-1.0.dist-info"):
        metadata = (folder / "METADATA").read_text(encoding="utf-8").replace("1.0", "1.5")
        (folder / "METADATA").write_text(metadata, encoding="utf-8")
    assert find(more, tmp_path / "cache").record.packages == {"hay": "1.0", "straw": "1.5"}


RACE = """
import sys, time
from pathlib import Path
from bench.declare.matrix import Runtime
from bench.prepare import environments, installers
from bench.progress import Quiet

real = installers.run

def command(words, *rest):
    if "venv" in words:
        with open(sys.argv[2], "a") as log:
            log.write("made\\n")
        time.sleep(0.3)
        real(words, *rest)

installers.run = command
assert environments.ensure(Runtime("ort", ("onnxruntime",)), Path(sys.argv[1]), Quiet()).executable.exists()
"""


def test_two_runs_at_once_make_a_runtime_once(tmp_path):
    log = tmp_path / "log"
    racers = [subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path / "cache"), str(log)]) for _ in range(2)]
    assert [racer.wait(60) for racer in racers] == [0, 0]
    assert log.read_text() == "made\n"


# --- installers that refuse -------------------------------------------------------------------------------------------


def refused(lines: list[str]) -> str:
    """What is said when the installer prints these lines and fails."""
    script = f"import sys; print({chr(10).join(lines)!r}); sys.exit(1)"
    with pytest.raises((RuntimeSetupError, DiskError)) as caught:
        installers.run([sys.executable, "-c", script], ORT, Quiet())
    return str(caught.value)


def test_a_requirement_that_cannot_be_installed_is_told_in_the_installers_words():
    said = refused(
        ["Collecting onnxruntime", "ERROR: a hint", "ERROR: No matching distribution found for onnxruntime==9"]
    )
    assert said.startswith("runtime 'ort' could not be installed: No matching distribution found for onnxruntime==9; ")
    assert "[runtimes.ort]" in said


def test_an_installer_that_names_no_error_is_quoted_by_its_last_line():
    assert "could not be installed: died of shame; " in refused(["Collecting onnxruntime", "died of shame"])


def test_a_silent_installer_is_told_too():
    assert "the installer said nothing" in refused([])


def test_an_installer_on_a_full_disk_is_a_disk_error():
    assert "the disk is full" in refused(["ERROR: Could not install packages: [Errno 28] No space left on device"])


def test_a_cache_in_a_place_that_is_no_folder_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match="name a folder that can be written"):
        ensure(ORT, tmp_path / "file", Quiet())


# --- interpreters of the user's ---------------------------------------------------------------------------------------


def test_an_interpreter_of_the_users_is_used_as_it_is(tmp_path):
    ready = ensure(MINE, tmp_path, Quiet())
    assert ready.executable == Path(sys.executable)
    assert ready.record.existing
    assert ready.record.packages["numpy"]
    assert list(tmp_path.iterdir()) == []


def test_an_interpreter_that_is_not_there_is_named(tmp_path):
    runtime = Runtime("npu", (), str(tmp_path / "no" / "python"))
    with pytest.raises(
        RuntimeSetupError, match=r"runtime 'npu': there is no interpreter .*; check \[runtimes\.npu\] python"
    ):
        find(runtime, tmp_path)


def test_an_interpreter_that_lacks_what_the_worker_needs_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreters, "WORKER_NEEDS", ("numpy>=1", "a-package-of-straw>=2"))
    with pytest.raises(
        RuntimeSetupError, match=r"lacks a-package-of-straw>=2, .*; run: .* -m pip install 'a-package-of-straw>=2'"
    ):
        find(MINE, tmp_path)


def test_a_version_that_is_too_old_is_lacking_and_what_the_operator_tests_need_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreters, "OPERATOR_NEEDS", ("a-package-of-straw>=2",))
    assert find(MINE, tmp_path)
    monkeypatch.setattr(interpreters, "WORKER_NEEDS", ("numpy>=1", "MsgSpec>=999"))
    with pytest.raises(RuntimeSetupError, match=r"lacks MsgSpec>=999, which the worker needs"):
        find(MINE, tmp_path)


@posix_only
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "exit code 3"),
        ("echo 'Traceback' >&2; echo 'ImportError: no libpython' >&2; exit 1", "ImportError: no libpython"),
        ("echo hello", "what it printed came from no Python"),
        ("echo 3", "what it printed came from no Python"),
        ("echo '{}'", "what it printed came from no Python"),
    ],
)
def test_an_interpreter_that_does_not_answer_is_told_in_one_line(tmp_path, script, said):
    with pytest.raises(RuntimeSetupError) as caught:
        find(a_script(tmp_path, script), tmp_path)
    assert f"python-of-straw does not answer as a Python interpreter: {said}; " in str(caught.value)


@posix_only
def test_a_file_that_cannot_be_run_is_told(tmp_path):
    runtime = a_script(tmp_path, "")
    assert runtime.python
    Path(runtime.python).write_bytes(b"\x00 not a program")
    with pytest.raises(RuntimeSetupError, match="does not answer as a Python interpreter"):
        find(runtime, tmp_path)
