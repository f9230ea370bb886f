"""Values of environment variables are in no stored matrix, and a run that goes on gets them back."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrices import MATRIX

from bench.declare import hidden_values
from bench.declare.matrix import parse
from bench.errors import MatrixError
from bench.shared.hidden import SET

SECRET = "hf_8sEcReT7"
LAYOUTS = {
    "inline": 'environment = { TOKEN = "hf_8sEcReT7", EMPTY = "" }',
    "literal": "environment = { 'TOKEN' = 'hf_8sEcReT7' }  # once: hf_8sEcReT7",
    "dotted": 'environment.TOKEN = "hf_8sEcReT7"\nenvironment."OTHER" = "1"',
    "table": '[providers.cpu.environment]\n"TOKEN" = """\nhf_8sEcReT7"""\nOTHER = \'\'\'hf_8sEcReT7\'\'\'',
    "escaped": 'environment = { TOKEN = "hf_\\u0038sEcReT7" }',
    "after a text with a quote": 'hint = "a # of \'hf"\nenvironment = { TOKEN = "hf_8sEcReT7" }',
    "also in a comment": '# TOKEN = "hf_older_one"\nenvironment = { TOKEN = "hf_8sEcReT7" }',
    "twice": 'session = { "TOKEN" = "hf_8sEcReT7" }\nenvironment = { TOKEN = "hf_8sEcReT7" }',
}


def text_with(lines: str) -> str:
    assert "[providers.cpu]" in MATRIX
    return MATRIX.replace("[providers.cpu]", f"[providers.cpu]\n{lines}", 1)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("twice",)])
def test_no_value_is_stored_however_it_is_written(layout):
    text = text_with(LAYOUTS[layout])
    shown = hidden_values.hidden(text)
    assert SECRET not in shown
    assert "hf_older_one" not in shown
    before, after = tomllib.loads(text), tomllib.loads(shown)
    environment = after["providers"]["cpu"].pop("environment")
    assert set(environment.values()) <= {SET, ""}
    assert set(environment) == set(before["providers"]["cpu"].pop("environment"))
    assert after == before
    # Layout and comments of the rest stay.
    assert MATRIX.partition("[providers.cpu]")[0] in shown
    assert hidden_values.hidden(shown) == shown


def test_a_value_that_the_text_uses_elsewhere_stays_there():
    shown = tomllib.loads(hidden_values.hidden(text_with(LAYOUTS["twice"])))["providers"]["cpu"]
    assert shown["environment"] == {"TOKEN": SET}
    assert shown["session"] == {"TOKEN": SECRET}


def test_a_matrix_without_variables_stays_as_it_is():
    assert hidden_values.hidden(MATRIX) == MATRIX


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,6}", fullmatch=True), st.text(max_size=20), max_size=4), st.booleans())
def test_any_value_is_hidden_and_nothing_else_changes(variables, inline):
    rows = [f"{name} = {hidden_values._toml(value)}" for name, value in variables.items()]
    lines = f"environment = {{ {', '.join(rows)} }}" if inline else "\n".join(f"environment.{row}" for row in rows)
    text = text_with(lines)
    shown = tomllib.loads(hidden_values.hidden(text))
    expected = tomllib.loads(text)
    if variables:
        expected["providers"]["cpu"]["environment"] = {name: SET if value else "" for name, value in variables.items()}
    assert shown == expected


def stored(lines: str):
    return parse(hidden_values.hidden(text_with(lines)))


def test_a_run_that_goes_on_has_the_values_of_the_matrix_of_today():
    now = parse(text_with(LAYOUTS["inline"]))
    again = hidden_values.restored(stored(LAYOUTS["inline"]), now, {"TOKEN": "other"}, {"cpu"})
    assert again.targets == now.targets
    assert hidden_values.variables(now)["TOKEN"] == SECRET


def test_without_a_matrix_the_values_are_those_of_the_process():
    again = hidden_values.restored(stored(LAYOUTS["inline"]), None, {"TOKEN": "other"}, {"cpu"})
    assert again.targets["cpu"].provider.environment["TOKEN"] == "other"
    assert again.targets["cpu"].provider.environment["EMPTY"] == ""


def test_a_value_that_nobody_has_is_asked_for_where_the_target_is_measured():
    with pytest.raises(MatrixError, match=r"TOKEN of providers\.cpu\.environment is not stored in the run; set the"):
        hidden_values.restored(stored(LAYOUTS["inline"]), None, {}, {"cpu"})
    again = hidden_values.restored(stored(LAYOUTS["inline"]), None, {}, {"torch-eager"})
    assert "TOKEN" not in again.targets["cpu"].provider.environment
