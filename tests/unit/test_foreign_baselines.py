"""A baseline that somebody else made is data: what is done for it, and what never is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import a_run, an_observation, an_outcome
from matrices import MATRIX, a_matrix, matrix_text
from msgspec.structs import replace

from bench import gating, store
from bench.declare import matrix as matrices
from bench.declare.matrix import parse
from bench.declare.plan import plan
from bench.declare.precisions import Precision
from bench.errors import BaselineError, MatrixError, RunFolderError
from bench.gating import text
from bench.gating.acts import TUNING, acts, beyond, is_loopback
from bench.gating.choice import choose
from bench.gating.foreign import admitted
from bench.gating.remeasured_base import recreate
from bench.machine.fingerprint import fingerprint
from bench.prepare import own_runs
from bench.progress import Quiet
from bench.records import Recipe, RuntimeRecord

PACKAGES = {"numpy": "2.4.6", "onnxruntime": "1.29.0"}
ONNXRUNTIME = 'requires = ["onnxruntime==1.31.1"]'
CPU = 'ep = "CPUExecutionProvider"'


def a_runtime(name: str = "ort", packages=PACKAGES) -> RuntimeRecord:
    return RuntimeRecord(name, ("onnxruntime==1.29.0",), "3.11.7", packages, "0" * 16)


class Asked:
    """What a gate admits of a baseline, and the lines that it prints."""

    def __init__(self, cache: Path, base: str, own: str = MATRIX, *, trusted: bool = False, runtimes=None) -> None:
        self.lines: list[str] = []
        matrix = parse(own)
        cells = [cell for cell in plan(parse(base)) if cell.excluded is None]
        run = a_run(*cells, matrix_text=base, runtimes=runtimes or {})
        recorded = {cell.id: an_outcome(cell) for cell in cells}
        self.run, self.choice = run, choose(run, recorded, matrix, (), ())
        self.foreign = admitted(run, self.choice, matrix, cache, self.lines.append, trusted=trusted)


# --- without trust ----------------------------------------------------------------------------------------------------


def test_a_baseline_of_the_same_matrix_needs_no_trust_and_brings_no_package(tmp_path):
    asked = Asked(tmp_path, MATRIX, runtimes={"ort": a_runtime(packages={"evil": "1.0"})})
    assert asked.lines == [
        "the baseline vm-20261102 was not made by you on this machine with this cache, or was changed; "
        "its matrix does nothing that yours does not"
    ]
    assert asked.foreign.matrix.runtimes["ort"].requires == ("onnxruntime==1.31.1",)
    made = recreate(asked.run, tmp_path, asked.foreign.matrix)
    assert made.matrix.runtimes["ort"].requires == ("onnxruntime==1.31.1",)
    assert "its runtimes are those of the matrix" in text.say(asked.foreign.notes[0])


def test_another_version_needs_trust_and_is_named(tmp_path):
    with pytest.raises(BaselineError) as caught:
        Asked(tmp_path, matrix_text(("onnxruntime==1.31.1", "onnxruntime==1.29.0")))
    assert "its matrix does more than yours: installs onnxruntime==1.29.0" in str(caught.value)
    assert "add --trust-baseline if you trust it" in str(caught.value)
    assert caught.value.exit_code == 4


def test_what_the_matrix_does_too_and_cells_that_are_not_measured_are_nobodys_danger(tmp_path):
    own_python = matrix_text((ONNXRUNTIME, 'python = "~/mine/bin/python"'))
    assert Asked(tmp_path, own_python, own_python).foreign
    # The target is not in the user's matrix, so none of its cells is measured.
    other = '[runtimes.evil]\npython = "/tmp/evil"\n[providers.evil]\nep = "EvilProvider"\nruntime = "evil"\n'
    foreign = Asked(tmp_path, matrix_text(more=other)).foreign
    assert "evil" not in {*foreign.matrix.targets, *foreign.matrix.runtimes}


def test_a_plain_option_of_a_provider_needs_no_trust(tmp_path):
    options = 'options = { arena = "kSameAsRequested", device = "GPU.0", engine_cache_enable = "1", factor = 0.5 }'
    base = matrix_text((CPU, f'{CPU}\nsession = {{ "session.intra_op.allow_spinning" = "0" }}\n{options}'))
    assert Asked(tmp_path, base).foreign


def test_the_limits_of_time_and_memory_are_the_users(tmp_path):
    measure = "\n[measure]\nmemory_limit_mb = {}\n"
    asked = Asked(tmp_path, matrix_text(more=measure.format(2**40)), matrix_text(more=measure.format(2000)))
    assert asked.foreign.matrix.measure.memory_limit_mb == 2000


def test_the_cells_are_those_that_the_matrix_plans_and_not_those_of_the_record(tmp_path):
    matrix = a_matrix()
    cells = [replace(cell, engine="evil", runtime="evil") for cell in plan(matrix) if cell.excluded is None]
    run = a_run(*cells, matrix_text=MATRIX)
    choice = choose(run, {cell.id: an_outcome(cell) for cell in cells}, matrix, (), ())
    foreign = admitted(run, choice, matrix, tmp_path, [].append, trusted=False)
    assert {both.base.engine for both in foreign.choice.both} == {"ort", "torch"}


# --- with trust -------------------------------------------------------------------------------------------------------


def test_with_trust_the_recorded_versions_are_installed_and_listed(tmp_path):
    base = matrix_text(("onnxruntime==1.31.1", "onnxruntime==1.29.0"))
    asked = Asked(tmp_path, base, trusted=True, runtimes={"ort": a_runtime()})
    assert asked.lines[0].endswith("this is what its matrix does beyond yours:")
    assert "  installs onnxruntime==1.29.0" in asked.lines
    assert asked.foreign.matrix.runtimes["ort"].requires == ("numpy==2.4.6", "onnxruntime==1.29.0")
    assert "installs onnxruntime==1.29.0" in text.say(asked.foreign.notes[0])


HOSTILE = {
    "interpreter": ((ONNXRUNTIME, 'python = "/tmp/evil"'), "starts the interpreter /tmp/evil"),
    "url": (
        (ONNXRUNTIME, 'requires = ["evil @ file:///tmp/evil.whl"]'),
        "installs evil @ file:///tmp/evil.whl",
    ),
    "path": ((ONNXRUNTIME, 'requires = ["/tmp/evil"]'), "installs /tmp/evil"),
    "no-version": ((ONNXRUNTIME, 'requires = ["evil"]'), "installs evil"),
    "preload": (
        (CPU, f'{CPU}\nenvironment = {{ LD_PRELOAD = "/tmp/evil.so" }}'),
        "sets the variable LD_PRELOAD=/tmp/evil.so",
    ),
    "path-in-a-known-variable": (
        (CPU, f'{CPU}\nenvironment = {{ KMP_AFFINITY = "/tmp/evil" }}'),
        "sets the variable KMP_AFFINITY=/tmp/evil",
    ),
    "plug-in": ((CPU, f'{CPU}\nplugin = "evil.module"'), "imports the module evil.module"),
    "library": (
        (CPU, f'{CPU}\noptions = {{ backend_path = "/tmp/evil.so" }}'),
        "gives a library CPUExecutionProvider backend_path=/tmp/evil.so",
    ),
    "library-by-name": (
        (CPU, f'{CPU}\noptions = {{ backend_path = "evil.so" }}'),
        "gives a library CPUExecutionProvider backend_path=evil.so",
    ),
    "library-without-ending": (
        (CPU, f'{CPU}\noptions = {{ extra_plugin_lib_paths = "evil" }}'),
        "gives a library CPUExecutionProvider extra_plugin_lib_paths=evil",
    ),
    "write": (
        (CPU, f'{CPU}\nsession = {{ "ep.context_file_path" = "../../x" }}'),
        "gives a library CPUExecutionProvider ep.context_file_path=../../x",
    ),
    "file-of-a-drive": (
        (CPU, f'{CPU}\noptions = {{ xclbin = "C:evil" }}'),
        "gives a library CPUExecutionProvider xclbin=C:evil",
    ),
    "file": (('source = "config:bert-base"', 'source = "path:/home/you/.ssh"'), "opens path:/home/you/.ssh"),
    "config-file": (
        ('source = "config:bert-base"', 'source = "config:/home/you/x.json"'),
        "opens config:/home/you/x.json",
    ),
    "config-file-with-a-space": (
        ('source = "config:bert-base"', 'source = "config:x.json "'),
        "opens config:x.json",
    ),
    "wheel-without-version": (
        ('source = "config:bert-base"', 'source = "wheel:evil/models"'),
        "downloads wheel:evil/models",
    ),
}


@pytest.mark.parametrize(("change", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_no_trust_allows_what_runs_code_or_reads_files(tmp_path, change, shown):
    for trusted in (False, True):
        with pytest.raises(BaselineError) as caught:
            Asked(tmp_path, matrix_text(change), trusted=trusted)
        assert shown in str(caught.value)
        assert "with a matrix that you have read" in str(caught.value)


SERVER = '[baselines.server]\nengine = "openai-http"\noptions = {{ url = "{url}", {key}model = "m" }}\n'


def test_a_server_elsewhere_and_a_key_of_the_environment_are_never_admitted(tmp_path):
    wanted = acts(a_matrix(more=SERVER.format(url="http://evil.example/v1", key='key = "AWS_SECRET_ACCESS_KEY", ')))
    more = {str(act): act.allowed for act in beyond(wanted, a_matrix())}
    assert more["contacts http://evil.example/v1"] is False
    assert more["reads the variable AWS_SECRET_ACCESS_KEY for http://evil.example/v1"] is False
    local = acts(a_matrix(more=SERVER.format(url="http://127.0.0.1:8000/v1", key="")))
    assert {str(act): act.allowed for act in local}["contacts http://127.0.0.1:8000/v1"] is True


@pytest.mark.parametrize("name", ["--find-links=http://evil", "evil @ file:///x", "-r x"])
def test_a_package_of_the_record_that_is_no_name_is_refused_by_name(tmp_path, name):
    base = matrix_text(("onnxruntime==1.31.1", "onnxruntime==1.29.0"))
    with pytest.raises(BaselineError, match="does what no baseline of somebody else may") as caught:
        Asked(tmp_path, base, trusted=True, runtimes={"ort": a_runtime(packages={name: "1.0"})})
    assert f"installs {name}==1.0" in str(caught.value)


def test_threads_and_devices_may_be_set_with_trust(tmp_path):
    base = matrix_text((CPU, f'{CPU}\nenvironment = {{ OMP_NUM_THREADS = "2" }}'))
    assert "OMP_NUM_THREADS" in TUNING
    with pytest.raises(BaselineError, match="sets the variable OMP_NUM_THREADS=2"):
        Asked(tmp_path, base)
    assert Asked(tmp_path, base, trusted=True).foreign.matrix.targets["cpu"].provider.environment


def test_a_key_of_the_user_goes_to_the_server_that_the_user_named_and_to_no_other(tmp_path):
    mine = {"https://a.example/v1": "KEY_A", "https://b.example/v1": "KEY_B"}
    servers = [
        SERVER.format(url=url, key=f'key = "{key}", ').replace("server", f"s{number}", 1)
        for number, (url, key) in enumerate(mine.items())
    ]
    own = a_matrix(more="".join(servers))
    assert beyond(acts(own), own) == []
    # Both the address and the variable are in the user's matrix, and also an address of this machine is another server.
    for url in ("https://b.example/v1", "http://127.0.0.1:666/v1"):
        more = beyond(acts(a_matrix(more=SERVER.format(url=url, key='key = "KEY_A", '))), own)
        assert (f"reads the variable KEY_A for {url}", False) in {(str(act), act.allowed) for act in more}


def test_hidden_values_are_those_of_the_users_own_target_or_named_variables(tmp_path):
    given = '{CPU}\nenvironment = {{ OMP_NUM_THREADS = "{threads}", MY_TOKEN = "{token}" }}'
    hidden = matrix_text((CPU, given.format(CPU=CPU, threads="<set>", token="<set 0123abcd:0123456789abcdef>")))
    own = matrix_text((CPU, given.format(CPU=CPU, threads="2", token="hf_8sEcReT7")))
    assert "its matrix does nothing that yours does not" in Asked(tmp_path, hidden, own).lines[0]
    # A value that is empty in the user's matrix would be taken from the process.
    for mine in (MATRIX, matrix_text((CPU, given.format(CPU=CPU, threads="", token="")))):
        with pytest.raises(BaselineError, match="reads the variable MY_TOKEN for the target cpu") as caught:
            Asked(tmp_path, hidden, mine, trusted=True)
        assert "with a matrix that you have read" in str(caught.value)
    threads = matrix_text((CPU, f'{CPU}\nenvironment = {{ OMP_NUM_THREADS = "<set>" }}'))
    assert "  reads the variable OMP_NUM_THREADS for the target cpu" in Asked(tmp_path, threads, trusted=True).lines


def test_options_of_recipes_are_acts_too():
    precision = Precision(
        "evil",
        {"text-encoder": Recipe("mine", {"library": "/tmp/evil.so", "bits": "8"})},
        {"torch": {"*": Recipe("other", {"calibration_file": "x"})}},
    )
    matrix = a_matrix()
    wanted = acts(replace(matrix, precisions={**matrix.precisions, "evil": precision}))
    assert {str(act) for act in beyond(wanted, matrix)} == {
        "gives a library the recipe mine library=/tmp/evil.so",
        "gives a library the recipe other calibration_file=x",
    }


def test_a_matrix_that_was_not_looked_at_is_not_read_again(tmp_path, monkeypatch):
    """What cannot be read here might be read elsewhere, as with another place: nothing of it may be done then."""
    base = a_baseline(tmp_path / "base", MATRIX)
    (tmp_path / "m.toml").write_text(MATRIX, encoding="utf-8")
    real, read = matrices.parse, []

    def parse_once(text, place="matrix.toml"):
        read.append(place)
        if len(read) == 2:
            raise MatrixError("unreadable here")
        return real(text, place)

    monkeypatch.setattr(matrices, "parse", parse_once)
    monkeypatch.setattr("bench.gating.measuring.new_side", lambda *_: SimpleNamespace(adopt=lambda _: None))
    made = []
    monkeypatch.setattr("bench.gating.measuring.base_side", lambda *arguments: made.append(arguments))
    monkeypatch.setattr(gating.Gate, "measure", lambda gate: (_ for _ in ()).throw(Looked(gate)))
    monkeypatch.setattr(gating.Gate, "close", lambda _: None)
    with pytest.raises(Looked) as caught:
        gating.run(gating.Options(base, tmp_path / "m.toml", tmp_path / "cache", tmp_path, out=tmp_path / "g"), Quiet())
    (gate,) = caught.value.args
    assert gate.remeasured_base is None
    assert text.say(gate.not_remeasured).endswith("unreadable here")
    assert made == []


class Looked(Exception):
    """Holds the gate."""


@pytest.mark.parametrize("threads", [0, -1, 10**6])
def test_a_number_of_threads_that_no_measurement_needs_is_refused(tmp_path, threads):
    folder = a_baseline(tmp_path / "base", MATRIX)
    store.save(folder, replace(store.read(folder)[0], threads=threads))
    (tmp_path / "m.toml").write_text(MATRIX, encoding="utf-8")
    with pytest.raises(BaselineError, match=f"measured with {threads} threads"):
        gating.run(gating.Options(folder, tmp_path / "m.toml", tmp_path / "cache", tmp_path), Quiet())


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:8080"])
def test_an_address_of_this_machine_is_known(address):
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "http://127.0.0.1@evil/",
            "http://evil/127.0.0.1",
            "http://127.0.0.1.evil/",
            "",
            "http://[",
            "http://10.0.0.1",
        ),
        *("http://0.0.0.0", "http://[::ffff:8.8.8.8]", "http://localhost.evil", "http://localhost.", "http://127.1"),
        *(
            "file://localhost/etc/passwd",
            "//127.0.0.1",
            "http://[::1]evil/",
            "http://[::1%25evil]",
            "http://2130706433",
        ),
        *("http://127.0.0.1\t.evil", "http://127.0.0.1\\@evil", "http://evil#@127.0.0.1", "http://127.0.0.1:0"),
        *("http://127.0.0.1/?u=http://evil", "http://127。0。0。1", "http://127.0.0.256", "http://l\u043ecalhost"),
    ],
)
def test_an_address_elsewhere_is_known(address):
    assert not is_loopback(address)


# --- the whole verb ---------------------------------------------------------------------------------------------------


def a_baseline(folder: Path, matrix: str) -> Path:
    cells = [cell for cell in plan(parse(matrix)) if cell.excluded is None]
    store.create(folder, a_run(*cells, matrix_text=matrix, machine=fingerprint()))
    for cell in cells:
        store.append(folder, an_observation(cell, 1))
    return folder


@pytest.mark.parametrize("trusted", [False, True])
def test_a_hostile_baseline_ends_the_gate_before_anything_is_made(tmp_path, trusted):
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n", encoding="utf-8")
    evil.chmod(0o755)
    # Every cell needs the runtime that builds.
    base = a_baseline(tmp_path / "base", matrix_text(('requires = ["torch==2.13.0"]', f'python = "{evil}"')))
    (tmp_path / "m.toml").write_text(MATRIX, encoding="utf-8")
    options = gating.Options(
        base, tmp_path / "m.toml", tmp_path / "cache", tmp_path, out=tmp_path / "gate", trust_baseline=trusted
    )
    with pytest.raises(BaselineError, match="starts the interpreter"):
        gating.run(options, Quiet())
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "gate").exists()
    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {"in-use", "in-use.lock"}


def test_the_users_own_baseline_is_asked_nothing(tmp_path, monkeypatch):
    base = a_baseline(tmp_path / "base", matrix_text(("onnxruntime==1.31.1", "onnxruntime==1.29.0")))
    own_runs.mark(store.read(base)[0], tmp_path / "cache")
    (tmp_path / "m.toml").write_text(MATRIX, encoding="utf-8")
    given = []

    def stop(*arguments):
        given.extend(arguments)
        raise InterruptedError

    monkeypatch.setattr(gating, "Gate", stop)
    with pytest.raises(InterruptedError):
        gating.run(gating.Options(base, tmp_path / "m.toml", tmp_path / "cache", tmp_path), Quiet())
    assert given[-1] is None


@pytest.mark.parametrize("name", ["base", "new", "pairs.jsonl"])
def test_a_gate_writes_through_no_link(tmp_path, name):
    base = a_baseline(tmp_path / "base-run", MATRIX)
    (tmp_path / "m.toml").write_text(MATRIX, encoding="utf-8")
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate" / name).symlink_to(tmp_path / "of-the-user")
    options = gating.Options(base, tmp_path / "m.toml", tmp_path / "cache", tmp_path, out=tmp_path / "gate")
    with pytest.raises(RunFolderError, match="is a symbolic link"):
        gating.run(options, Quiet())
    assert not (tmp_path / "of-the-user").exists()
