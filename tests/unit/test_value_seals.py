"""Seals of values: runs of one cache tell whether a value has changed, and nobody else learns anything."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from matrices import MATRIX

from bench.declare import hidden_values
from bench.declare.matrix import parse
from bench.errors import MatrixError, RuntimeSetupError
from bench.judge.differences_matrix import matrix as differences
from bench.prepare import environments, installers
from bench.prepare.own_runs import FOLDER
from bench.prepare.value_seals import FILE, sealing
from bench.report.text_differences import WORDS
from bench.shared.hidden import SEALED, are_other_values, as_set


def text_with(variable: str, value: str) -> str:
    return MATRIX.replace("[providers.cpu]", f'[providers.cpu]\nenvironment = {{ {variable} = "{value}" }}', 1)


def test_a_seal_tells_equal_from_other_and_nothing_else(tmp_path):
    seal = sealing(tmp_path)
    assert SEALED.fullmatch(seal("A", "2"))
    assert seal("A", "2") == sealing(tmp_path)("A", "2")
    assert are_other_values(seal("A", "2"), seal("A", "3"))
    assert not are_other_values(seal("A", "2"), seal("A", "2"))
    # Two variables of one value do not look alike.
    assert seal("A", "2") != seal("B", "2")
    assert seal("A", "") == ""
    # Seals of another cache, and what older runs hold, say nothing.
    other = sealing(tmp_path / "other")
    for before in (other("A", "2"), "<set>", "2", ""):
        assert not are_other_values(before, seal("A", "3"))


def test_the_key_is_made_once_readable_by_its_owner_and_again_where_it_is_damaged(tmp_path):
    first = sealing(tmp_path)("A", "2")
    path = tmp_path / FOLDER / FILE
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [FILE]
    path.write_text("damaged", encoding="ascii")
    second = sealing(tmp_path)("A", "2")
    assert SEALED.fullmatch(second)
    assert second != first


def test_a_cache_that_cannot_be_written_seals_nothing(tmp_path):
    (tmp_path / FOLDER).write_text("a file in the way", encoding="ascii")
    assert sealing(tmp_path)("A", "2") == "<set>" == as_set("2")


def test_a_stored_matrix_holds_the_seal_and_keeps_it(tmp_path):
    seal = sealing(tmp_path)
    stored = hidden_values.hidden(text_with("THREADS", "2"), seal)
    assert f'THREADS = "{seal("THREADS", "2")}"' in stored
    assert hidden_values.hidden(stored, seal) == stored


def test_a_run_goes_on_with_the_value_that_it_began_with(tmp_path):
    seal = sealing(tmp_path)
    stored = parse(hidden_values.hidden(text_with("THREADS", "2"), seal))

    def restored(now: str, environment: dict[str, str], seal=seal) -> str:
        current = parse(text_with("THREADS", now))
        matrix = hidden_values.restored(stored, current, environment, {"cpu"}, seal)
        return matrix.targets["cpu"].provider.environment["THREADS"]

    assert restored("2", {"THREADS": "4"}) == "2"
    # The matrix has changed since, as where another file has its name; the process still has the value.
    assert restored("4", {"THREADS": "2"}) == "2"
    with pytest.raises(
        MatrixError, match="has another value now than when the run was measured; set the value of then"
    ):
        restored("4", {})
    # With another cache it cannot be known.
    assert restored("4", {}, sealing(tmp_path / "other")) == "4"


def test_a_secret_may_be_renewed(tmp_path):
    seal = sealing(tmp_path)
    stored = parse(hidden_values.hidden(text_with("MY_TOKEN", "hf_old"), seal))
    matrix = hidden_values.restored(stored, parse(text_with("MY_TOKEN", "hf_new")), {}, {"cpu"}, seal)
    assert matrix.targets["cpu"].provider.environment == {"MY_TOKEN": "hf_new"}


def test_compare_and_gate_name_a_variable_that_has_another_value(tmp_path):
    seal = sealing(tmp_path)
    base, new, same = (hidden_values.hidden(text_with("THREADS", value), seal) for value in ("2", "4", "2"))
    (fact,) = differences(base, new)
    assert WORDS[fact.kind](**fact.values) == "matrix: [providers.cpu] environment.THREADS has another value"
    assert list(differences(base, same)) == []
    other = hidden_values.hidden(text_with("THREADS", "4"), sealing(tmp_path / "other"))
    assert list(differences(base, other)) == []


# --- passwords in addresses -------------------------------------------------------------------------------------------

PRIVATE = "tool @ https://me:s3cr3t@host.example/tool-1.0-py3-none-any.whl?token=abc"
SHOWN = "tool @ https://…@host.example/tool-1.0-py3-none-any.whl?token=…"


def text_requiring(requirement: str, comment: str = "") -> str:
    return f"{MATRIX}\n[runtimes.mine]\nrequires = ['{requirement}']{comment}\n[baselines.own]\nengine = 'torch'\n" + (
        "mode = 'eager'\nruntime = 'mine'\n"
    )


@pytest.mark.parametrize("written", [PRIVATE, PRIVATE.replace("@ https", "@https")])
def test_no_password_of_an_address_is_stored(written):
    stored = hidden_values.hidden(text_requiring(written, "  # https://ghp_only-a-token@github.com/x"))
    assert "s3cr3t" not in stored
    assert "abc" not in stored
    assert "ghp_" not in stored
    assert parse(stored).runtimes["mine"].requires == (written.replace(PRIVATE[7:], SHOWN[7:]),)
    assert hidden_values.hidden(stored) == stored


def test_a_password_with_escapes_of_toml_is_not_stored_either():
    text = text_requiring(PRIVATE).replace(f"'{PRIVATE}'", '"{}"'.format(PRIVATE.replace("@host", "\\u0040host")))
    assert parse(text).runtimes["mine"].requires == (PRIVATE,)
    assert "s3cr3t" not in hidden_values.hidden(text)


def test_a_run_that_goes_on_has_the_password_of_the_matrix_of_today():
    stored = parse(hidden_values.hidden(text_requiring(PRIVATE)))
    now = parse(text_requiring(PRIVATE.replace("s3cr3t", "renewed")))
    again = hidden_values.restored(stored, now, {}, {"own"})
    assert again.runtimes["mine"].requires == (PRIVATE.replace("s3cr3t", "renewed"),)
    # A cached runtime needs none, and nothing is installed without it.
    without = hidden_values.restored(stored, None, {}, {"own"}).runtimes["mine"]
    assert without.requires == (SHOWN,)
    assert environments.key(without) == environments.key(again.runtimes["mine"])
    with pytest.raises(RuntimeSetupError, match="lacks its password, which is stored in no run"):
        installers.ways(Path("python"), without.requires, extends=False)
