"""Nothing private is in the files of a run: no folder of the user, no name of the user or the host, no secret."""

from __future__ import annotations

import base64
import errno
import getpass
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import a_failed
from fake_runs import a_fake_run
from hostile import assert_harmless, changed
from msgspec.structs import replace

from bench import pipeline, privacy, store, worker_logs
from bench.judge.cell_states import CellHistory
from bench.measure.measuring import measure
from bench.prepare.artifact_builder import ArtifactBuilder
from bench.prepare.environments import Environment
from bench.privacy import AS_THEY_ARE, IDENTIFIERS
from bench.progress import Quiet
from bench.records import Observation, Provider, RuntimeRecord, TargetFacts
from bench.worker_process import Worker

USER, HOST, TOKEN, PHRASE = "zaphodb", "heart-of-gold", "hf_dontPanic42dontPanic", "mostly harmless 4242"
RECORDED = Path(__file__).parents[1] / "recorded" / "several-engines"
FORMATS = ("html", "csv", "markdown", "json", "pytest-benchmark")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, a user, a host and secrets of the test's own; what was known of other runs is forgotten."""
    folder = tmp_path / "homes" / USER
    folder.mkdir(parents=True)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, USER)
    # The folders of a test are below the folder of temporary files, and a home is not.
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("platform.node", lambda: f"{HOST}.galaxy.example")
    assert getpass.getuser() == USER
    for name in ("folders", "secrets", "typed"):
        monkeypatch.setattr(privacy._Known, name, type(getattr(privacy._Known, name))())
    return folder


def telling(home: Path, cache: Path) -> str:
    """What a library may print, with all that is private; also into the file that the fake engine reads."""
    text = (
        f"no {home}/models/a.onnx (file://{home}/b), {cache}/artifacts/k, {home.parent}/{USER}/c; "
        f"{USER}@{HOST}.galaxy.example, {HOST}: token {TOKEN}; https://me:{TOKEN}@index.example/simple; {PHRASE}"
    )
    (home / "tell.txt").write_text(text, encoding="utf-8")
    return text


def private(home: Path, cache: Path) -> tuple[str, ...]:
    return str(home), str(cache), USER, HOST, TOKEN, PHRASE


@pytest.mark.parametrize("mode", ["tells", "tells-and-raises", "tells-and-segfaults"])
def test_no_file_of_a_run_holds_anything_private(tmp_path, home, strange_engines, mode):
    fake = a_fake_run(home / "work", mode)
    cache = home / "work" / "cache"
    privacy.know({"CACHE": cache, "RUN": tmp_path / "run"}, fake.matrix.text, {"MY_PHRASE": PHRASE})
    telling(home, cache)
    folder = tmp_path / "run"
    targets = {"gone": TargetFacts(False, message=telling(home, cache), remedy=f"look into {home}")}
    store.create(folder, replace(fake.run, targets=targets, matrix_text=fake.matrix.text))
    settings = replace(fake.settings, logs=folder / store.LOGS)

    def record(observation: Observation) -> None:
        store.append(folder, observation)

    measure(fake.matrix, fake.run, fake.prepared, settings, CellHistory(()), record, Quiet())
    pipeline.report([folder], FORMATS, folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"run.json", "results.jsonl", "report.html", "results.csv", "summary.md"}
    for path in files:
        content = path.read_bytes().decode("utf-8")
        for word in private(home, cache):
            assert word not in content, f"{word} in {path.name}"
        assert_harmless(content)
    (log,) = (folder / store.LOGS).glob("*.log")
    # What is told stays: only the names are others.
    assert "no ~/models/a.onnx (file://~/b), CACHE/artifacts/k" in log.read_text(encoding="utf-8")
    assert "token $HF_TOKEN" in log.read_text(encoding="utf-8")
    assert "USER@HOST.galaxy.example, HOST" in log.read_text(encoding="utf-8")


def texts_with(word: str, value: Any, path: str = "") -> Iterator[str]:
    """The names of the fields in which texts hold a word, as in `failure.message`."""
    if isinstance(value, AS_THEY_ARE):
        return
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from texts_with(word, getattr(value, name), f"{path}.{name}".lstrip("."))
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts_with(word, each, path)
    elif isinstance(value, tuple):
        for each in value:
            yield from texts_with(word, each, path)
    elif isinstance(value, str) and word in value:
        yield path


def test_every_text_of_a_run_is_scrubbed_but_identifiers(home):
    """Also of a field that is new: whether it may hold a path must be decided in `bench.privacy`."""
    run, observations = store.read(RECORDED)
    records = [changed(record, lambda _: f"{home}/x") for record in (run, *observations)]
    before = {path for record in records for path in texts_with(str(home), record)}
    assert {
        "failure.message",
        "failure.stderr_tail",
        "targets.message",
        "targets.notes.values",
        "runtimes.requires",
    } <= before
    after = {path for record in records for path in texts_with(str(home), privacy.scrubbed(record))}
    assert {path.rpartition(".")[2] for path in after} <= IDENTIFIERS


def test_a_record_without_anything_private_is_the_same_object(home):
    observation = a_failed("vit/fp32/cpu/b1", 0)
    assert privacy.scrubbed(observation) is observation


def test_variables_of_a_provider_are_stored_as_set_or_not_set(home):
    stored = privacy.scrubbed(Provider("AEP", environment={"A": "1", "B": ""}))
    assert stored.environment == {"A": "<set>", "B": ""}


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("{home}", "~"),
        ("{home}/a:{home}/b", "~/a:~/b"),
        ("-I{home}/include", "-I~/include"),
        ("'{home}'", "'~'"),
        ("{home}2/a", "{parent}/USER2/a"),
        ("minilm/fp32/cpu/b1", "minilm/fp32/cpu/b1"),
        ("https://me:pass@host.example/x", "https://…@host.example/x"),
        ("https://host.example:8080/x@y", "https://host.example:8080/x@y"),
    ],
)
def test_folders_and_addresses_are_shortened_whole(home, written, shown):
    where = {"home": home, "parent": home.parent}
    expected = shown.format(**where)
    if "2/a" in written:
        # Another folder: the name of the user is no word of its own there.
        expected = written.format(**where)
    assert privacy.scrub(written.format(**where)) == expected


def test_a_home_of_one_part_is_no_part_of_an_id(monkeypatch):
    monkeypatch.setenv("HOME", "/root")
    assert privacy.scrub("vit/root/cpu of /root/a, not /rooted") == "vit/root/cpu of ~/a, not /rooted"


def test_words_that_the_matrix_uses_stay(home, monkeypatch):
    monkeypatch.setenv("LOGNAME", "bert")
    assert privacy.scrub("model bert of bert-base") == "model USER of USER-base"
    privacy.know({}, '[models.bert]\nsource = "hub:x"')
    assert privacy.scrub("model bert of bert-base") == "model bert of bert-base"


@pytest.mark.parametrize("name", ["root", "runner", "user", "ab"])
def test_names_that_tell_nothing_stay(home, monkeypatch, name):
    monkeypatch.setenv("LOGNAME", name)
    assert privacy.scrub(f"the {name} of the tree") == f"the {name} of the tree"


@pytest.mark.parametrize(
    ("variable", "value", "is_hidden"),
    [
        ("AWS_SECRET_ACCESS_KEY", "abcdefgh", True),
        ("AWS_ACCESS_KEY_ID", "abcdefgh", True),
        ("DB_PASSWORD", "abcdefgh", True),
        ("OPENAI_API_KEY", "sk-abcdef", True),
        ("TOKENIZERS_PARALLELISM", "nothing", False),
        ("OMP_NUM_THREADS", "16161616", False),
        ("KEYBOARD", "qwertzuiop", False),
        ("MY_TOKEN", "abc", False),
    ],
)
def test_values_of_secrets_are_known_by_the_names_of_their_variables(home, monkeypatch, variable, value, is_hidden):
    monkeypatch.setenv(variable, value)
    assert privacy.scrub(f"got {value}!") == (f"got ${variable}!" if is_hidden else f"got {value}!")


def test_each_line_of_a_private_key_is_hidden(home, monkeypatch):
    monkeypatch.setenv("SSH_PRIVATE_KEY", "-----BEGIN-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n")
    assert "MIIE" not in privacy.scrub("x MIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC")


# --- logs -------------------------------------------------------------------------------------------------------------


def test_a_log_is_cleaned_from_a_position_on_and_keeps_every_word(home, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"earlier\n" + f"\x1b[31m{home}/a\x1b[0m 50 %\r100 %\n".encode() + b"bytes \xff\xfe end")
    privacy.clean_log(log, len("earlier\n"))
    assert log.read_text(encoding="utf-8") == "earlier\n~/a 50 %\n100 %\nbytes \\xff\\xfe end"


def test_a_log_with_nothing_private_is_not_written_again(home, tmp_path):
    log = tmp_path / "a.log"
    log.write_text("plain\n", encoding="utf-8")
    before = log.stat()
    privacy.clean_log(log)
    assert (log.stat().st_ino, log.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_link_is_not_followed(home, tmp_path):
    other = tmp_path / "other"
    other.write_text(f"{home}", encoding="utf-8")
    (tmp_path / "a.log").symlink_to(other)
    privacy.clean_logs(tmp_path)
    assert other.read_text(encoding="utf-8") == str(home)
    assert (tmp_path / "a.log").is_symlink()


def test_a_cleaning_that_is_killed_leaves_the_whole_log(home, tmp_path, monkeypatch):
    log = tmp_path / "a.log"
    log.write_text(f"{home}\n", encoding="utf-8")

    def dies(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        privacy.clean_log(log)
    assert log.read_text(encoding="utf-8") == f"{home}\n"
    assert list(tmp_path.glob(".a.log-*")) == []


def test_a_full_disk_leaves_the_log_and_ends_nothing(home, tmp_path, monkeypatch):
    log = tmp_path / "a.log"
    log.write_text(f"{home}\n", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    privacy.clean_log(log)
    assert log.read_text(encoding="utf-8") == f"{home}\n"


def test_logs_that_a_killed_run_left_are_cleaned_when_it_goes_on(home, tmp_path):
    (tmp_path / "a.log").write_text(f"{home}/a\n", encoding="utf-8")
    privacy.clean_logs(tmp_path)
    assert (tmp_path / "a.log").read_text(encoding="utf-8") == "~/a\n"


def test_a_log_is_cleaned_when_the_last_of_its_workers_has_ended(home, tmp_path):
    log = tmp_path / "w.log"
    nowhere = Path("/nowhere/python")
    first = Worker(nowhere, log, dict(os.environ))
    second = Worker(nowhere, log, dict(os.environ))
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{home}\n")
    first.close()
    assert log.read_text(encoding="utf-8") == f"{home}\n"
    second.close()
    second.close()
    assert log.read_text(encoding="utf-8") == "~\n"


def test_a_log_that_was_cut_keeps_whole_lines_and_is_cleaned_behind_the_cut(home, tmp_path, monkeypatch):
    for name, size in (("MOST_LOG_BYTES", 8000), ("LOG_START_BYTES", 1000), ("LOG_END_BYTES", 1000)):
        monkeypatch.setattr(worker_logs, name, size)
    log = tmp_path / "w.log"
    log.write_text("an earlier worker\n" * 100, encoding="utf-8")
    worker = Worker(Path("/nowhere/python"), log, dict(os.environ))
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{home}/a\n" * 1000)
    worker.close()
    lines = log.read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if "of this log were removed here" not in line} == {"an earlier worker", "", "~/a"}
    assert any("of this log were removed here" in line for line in lines)
    assert len(lines) < 200


def test_the_log_of_a_build_that_crashed_is_cleaned_when_another_worker_takes_its_place(home, tmp_path):
    gone = Environment(RuntimeRecord("build", (), "3", {}, "k"), Path("/nowhere/python"))
    builder = ArtifactBuilder(tmp_path / "cache", tmp_path, Quiet(), {"build": gone}, tmp_path)
    with builder._worker("build") as first, first.log.open("a", encoding="utf-8") as file:
        file.write(f"{home}/a\n")
    with builder._worker("build"):
        assert first.log.read_text(encoding="utf-8") == "~/a\n"
    builder.end(Worker.kill)
    assert [worker._stderr.closed for worker in builder.workers.values()] == [True]


def test_passwords_of_addresses_in_variables_are_secrets_too(home, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:p%40ssw0rd-99@proxy.example:3128")
    monkeypatch.setenv("PIP_INDEX_URL", "https://ghp_0123456789abcdef@index.example/simple")
    sent = base64.b64encode(b"me:p@ssw0rd-99").decode()
    told = f"rejected p%40ssw0rd-99, p@ssw0rd-99, Basic {sent}, ghp_0123456789abcdef"
    proxy = "$HTTPS_PROXY"
    assert privacy.scrub(told) == f"rejected {proxy}, {proxy}, Basic {proxy}, $PIP_INDEX_URL"


@pytest.mark.parametrize("mark", ["", " …", "..."])
def test_what_is_left_of_a_secret_or_a_folder_that_was_cut_is_hidden(home, mark):
    long = "x" * privacy.SHORTEST_CUT
    assert privacy.scrub(f"{long} token {TOKEN[:8]}{mark}") == f"{long} token $HF_TOKEN{mark}"
    assert privacy.scrub(f"{long} no {str(home)[:-3]}{mark}") == f"{long} no ~{mark}"
    assert privacy.scrub(f"{TOKEN[-8:]} was the token {long}") == f"$HF_TOKEN was the token {long}"
    # What is a parent of the folder, or too short to tell.
    for text in (f"{long} no {home.parent}/", f"{long} {TOKEN[:4]}", f"{TOKEN[:8]} short"):
        assert privacy.scrub(text) == text


def test_the_home_is_known_in_every_spelling(tmp_path, home, monkeypatch):
    real = tmp_path / "hömes of all" / USER
    real.mkdir(parents=True)
    (tmp_path / "link").symlink_to(real.parent)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "link" / USER))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "link" / "scratch"))
    spelled = [str(real), f"{tmp_path}/link/{USER}", real.as_uri(), ascii(str(real)), json.dumps(str(real))]
    shown = privacy.scrub(
        "\n".join([*spelled, repr(os.fsencode(real)), f"{tmp_path}/link/scratch/a", f"C:\\Users\\{USER}"])
    )
    assert shown.split("\n") == ["~", "~", "file://~", "'~'", '"~"', "b'~'", "TMP/a", "C:\\Users\\USER"]
