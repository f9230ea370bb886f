"""Models that generate in a matrix: their engines, their sizes, what they are made in, and servers without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from matrices import matrix_text

from bench.declare.matrix import parse, read
from bench.declare.plan import plan
from bench.errors import MatrixError, UsageError

CPU = "CPUExecutionProvider"
A_GENERATOR = """
[models.llm]
family = "text-generator"
source = "config:llama-tiny"
workloads = [{ prompt = 32, new = 8 }, { prompt = 32, new = 8, context = 64 }]

[precisions.four]
text-generator = { recipe = "genai-int4", block_size = 64 }
llama-cpp = "gguf-q4_k_m"

[providers.webgpu]
[providers.qnn]
[providers.plain]
like = "cpu"
engine = "ort-generate"

[baselines.llama]
engine = "llama-cpp"
runtime = "llama-cpp"
"""


def complaint(more: str) -> str:
    """What is said of the matrix with this at its end."""
    with pytest.raises(MatrixError) as caught:
        parse(matrix_text(more=more))
    return str(caught.value)


def generating(*only: str):
    return {cell.target: cell for cell in plan(parse(matrix_text(more=A_GENERATOR)), only or ["llm/four/*/b1-p32-n8"])}


def test_a_provider_runs_a_generator_by_genai_where_that_knows_it_and_by_plain_onnx_runtime_elsewhere():
    cells = generating()
    assert {name: cells[name].engine for name in ("cpu", "webgpu", "plain", "llama")} == {
        "cpu": "genai",
        "webgpu": "genai",
        "plain": "ort-generate",
        "llama": "llama-cpp",
    }


def test_an_encoder_on_the_same_provider_stays_with_onnx_runtime():
    assert {cell.engine for cell in plan(parse(matrix_text(more=A_GENERATOR)), ["minilm/fp32/cpu/*"])} == {"ort"}


def test_two_engines_with_one_format_share_an_artifact_and_others_do_not():
    cells = generating()
    assert cells["cpu"].artifact_name == cells["plain"].artifact_name == "llm/four/genai"
    assert cells["llama"].artifact_name == "llm/four/gguf"


def test_plain_onnx_runtime_runs_the_exports_of_optimum_where_a_precision_names_their_recipe():
    more = A_GENERATOR.replace('"ort-generate"', '"ort-optimum"')
    with pytest.raises(UsageError, match="'four' has no recipe for engine 'ort-optimum', family 'text-generator'"):
        plan(parse(matrix_text(more=more)), ["llm/four/plain/b1-p32-n8"])
    named = more.replace(
        'llama-cpp = "gguf', 'optimum = "dynamic-int8"\nort-optimum = "dynamic-int8"\nllama-cpp = "gguf'
    )
    named += '[baselines.optimum]\nengine = "optimum"\nruntime = "optimum"\n'
    cells = {cell.target: cell for cell in plan(parse(matrix_text(more=named)), ["llm/four/*/b1-p32-n8"])}
    plain = cells["plain"]
    assert (plain.excluded, plain.engine, plain.format, plain.provider) == (None, "ort-optimum", "optimum", CPU)
    assert plain.artifact_name == cells["optimum"].artifact_name
    # The other targets still run what the family's recipe makes.
    assert cells["cpu"].artifact_name == "llm/four/genai"


def test_a_size_of_zero_is_in_no_label():
    cells = plan(parse(matrix_text(more=A_GENERATOR)), ["llm/four/cpu/*"])
    assert [cell.workload for cell in cells] == ["b1-p32-n8", "b1-p32-n8-d64"]


def test_only_a_size_that_may_be_left_out_may_be_zero():
    said = complaint(more=A_GENERATOR.replace("prompt = 32, new = 8 }", "prompt = 0, new = 8 }", 1))
    assert said.startswith("models.llm.workloads[0].prompt is 0 in matrix.toml; a size is a whole number from 1")
    with_zero = A_GENERATOR.replace("context = 64", "context = 0, batch = 2")
    assert [cell.workload for cell in plan(parse(matrix_text(more=with_zero)), ["llm/four/cpu/*"])][1] == "b2-p32-n8"


def test_what_a_generator_is_made_and_run_in_is_known_without_a_word():
    runtimes = parse(matrix_text(more=A_GENERATOR)).runtimes
    assert {"build", "llama-cpp"} <= set(runtimes)


def test_an_engine_that_cannot_drive_the_provider_is_refused():
    said = complaint(more='[providers.strange]\nep = "StrangeExecutionProvider"\nengine = "genai"\n')
    assert said.startswith("engine 'genai' of providers.strange cannot drive StrangeExecutionProvider")


def test_an_engine_that_no_provider_has_is_answered_with_the_nearest():
    said = complaint(more=A_GENERATOR.replace('"ort-generate"', '"ort-generat"'))
    assert "unknown engine 'ort-generat' in providers.plain in matrix.toml; did you mean 'ort-generate'?" in said


A_SERVER = '[baselines.server]\nengine = "openai-http"\nruntime = "http"\noptions = {{ {} }}\n'


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ('url = "http://127.0.0.1:1/v1", key = "sk-abc"', "options.key is not the name of an environment variable"),
        ('url = "http://127.0.0.1:1/v1", key = "abc123"', "options.key is not the name of an environment variable"),
        ('url = "http://me:secret@127.0.0.1:1/v1"', "options.url holds a user or a password"),
    ],
)
def test_a_key_in_the_matrix_is_refused_and_not_repeated(options, words):
    said = complaint(more=A_SERVER.format(options))
    assert words in said
    assert not any(secret in said for secret in ("sk-abc", "abc123", "secret@"))


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "examples").glob("*.toml")), ids=lambda path: path.name
)
def test_every_example_is_a_matrix_with_something_to_run(path):
    assert any(cell.excluded is None for cell in plan(read(path)))
