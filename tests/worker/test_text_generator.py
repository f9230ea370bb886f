"""Language models: what they are fed, what they answer, and that random weights can be told from wrong ones."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import generators
import numpy as np
import pytest
from limits import limits

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from bench.records import Source, note  # noqa: E402
from bench.worker import hugging_face, parity_tokens  # noqa: E402
from bench.worker.families import _random_weights, text_generator  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402

CONFIGS = Path(__file__).parent.parent.parent / "bench" / "worker" / "configs"
TINY = json.loads((CONFIGS / "llama-tiny.json").read_text(encoding="utf-8"))
SMALL = {
    "vocab_size": 400,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": None,
}
SIZES = {"batch": 1, "prompt": 48, "new": 32, "context": 0}
LIMITS = limits("text-generator")
FORMATS = sorted(LIMITS)


def a_source(folder: Path, config: dict[str, Any], seed: int = 0) -> Source:
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return Source(kind="config", path=str(path), weights="random", digest="", seed=seed)


def tiny(seed: int = 0) -> Source:
    return Source(kind="config", path=str(CONFIGS / "llama-tiny.json"), weights="random", digest="", seed=seed)


@pytest.fixture(scope="module")
def referred() -> tuple[list[Any], list[Any]]:
    feeds = text_generator.make_inputs(tiny(), SIZES, None)
    return feeds, text_generator.reference(tiny(), feeds, SIZES["new"])[0]


def scored(model: Any, feeds: list[Any], outputs: list[Any], edit: Callable[[Any], Any] = lambda ids: ids) -> Any:
    """Logits of (positions, vocabulary) over the reference's continuation of prompts that `edit` may spoil."""
    rows = []
    for feed, output in zip(feeds, outputs, strict=True):
        count = output["logits"].shape[1]
        ids = np.concatenate([edit(feed["input_ids"]), output["tokens"][:, : count - 1]], axis=1)
        with torch.inference_mode():
            rows.append(model(input_ids=torch.from_numpy(ids)).logits[:, -count:].float().numpy())
    return np.concatenate(rows)


def within(number_format: str, outputs: list[Any], have: Any) -> bool:
    want = np.concatenate([output["logits"] for output in outputs])
    limit = LIMITS[number_format]
    divergence = parity_tokens.kl(want.astype(np.float64), have.astype(np.float64)).mean()
    agreement = (want.argmax(-1) == have.argmax(-1)).mean()
    return bool(divergence <= limit.max_kl and agreement >= limit.min_top1)


# --- inputs -----------------------------------------------------------------------------------------------------------


def test_prompts_are_exactly_as_long_as_asked_and_each_another_text() -> None:
    feeds = text_generator.make_inputs(tiny(), {"batch": 3, "prompt": 40, "new": 8, "context": 20}, None)
    assert [(feed["input_ids"].shape, feed["context_ids"].shape) for feed in feeds] == [((3, 40), (3, 20))]
    assert len({row.tobytes() for row in feeds[0]["input_ids"]}) == 3
    assert {array.dtype.name for array in feeds[0].values()} == {"int64"}


def test_a_batch_of_one_has_a_second_prompt_for_parity() -> None:
    feeds = text_generator.make_inputs(tiny(), SIZES, None)
    assert [sorted(feed) for feed in feeds] == [["input_ids"], ["input_ids"]]
    assert not np.array_equal(feeds[0]["input_ids"], feeds[1]["input_ids"])


def test_context_and_prompt_are_one_text() -> None:
    whole = text_generator.make_inputs(tiny(), SIZES | {"prompt": 60}, None)[0]["input_ids"]
    cut = text_generator.make_inputs(tiny(), SIZES | {"prompt": 20, "context": 40}, None)[0]
    np.testing.assert_array_equal(np.concatenate([cut["context_ids"], cut["input_ids"]], axis=1), whole)


def test_no_two_rows_of_a_large_batch_are_the_same(tmp_path: Path) -> None:
    texts = text_generator._texts(text_generator._sentences(None), 300, 64)
    assert len(set(texts)) == 300


def test_a_text_file_of_the_users_is_continued(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("zebras zoom\nyaks yawn\n" * 9, encoding="utf-8")
    feed = text_generator.make_inputs(tiny(), SIZES | {"prompt": 8}, str(tmp_path / "mine.txt"))[0]
    assert text_generator._tokenizer(tiny()).decode(feed["input_ids"][0]).startswith("zebras")


def test_a_folder_without_texts_and_a_file_with_too_few_are_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"holds no pictures, \.wav or \.txt files"):
        text_generator.make_inputs(tiny(), SIZES, str(tmp_path))
    (tmp_path / "mine.txt").write_text("one line", encoding="utf-8")
    with pytest.raises(Refusal, match=r"mine.txt holds 1 texts"):
        text_generator.make_inputs(tiny(), SIZES, str(tmp_path / "mine.txt"))


@pytest.mark.parametrize("sizes", [{"prompt": 225}, {"new": 209}, {"context": 177}])
def test_more_tokens_than_the_model_has_positions_for_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(Refusal, match=r"257, the model's context is 256") as refused:
        text_generator.make_inputs(tiny(), SIZES | sizes, None)
    assert (refused.value.status, refused.value.remedy) == ("unsupported", "ask for fewer tokens")


def test_a_model_that_generates_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="'bert' does not generate"):
        text_generator.load(a_source(tmp_path, {"model_type": "bert", "hidden_size": 32, "num_attention_heads": 2}))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    text_generator.save(tiny(), tmp_path)
    source = a_source(tmp_path, TINY | {"vocab_size": 90, "bos_token_id": 0, "eos_token_id": 1})
    with pytest.raises(Refusal, match=r"the model knows 90"):
        text_generator.make_inputs(Source("folder", str(tmp_path), "random", "", source.seed), SIZES, None)


# --- the tokenizer of bytes -------------------------------------------------------------------------------------------


def test_every_id_of_the_vocabulary_has_a_name_of_its_own_and_text_comes_back() -> None:
    tokenizer = text_generator._tokenizer(tiny())
    names = tokenizer.convert_ids_to_tokens(list(range(TINY["vocab_size"])))
    assert len(set(names)) == len(tokenizer) == TINY["vocab_size"]
    assert None not in names
    text = "Łódź costs 3 € <|eos is no token here>\n\ttabs, 日本"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.decode([700]) == "<|700|>"
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (256, 257)


def test_common_pairs_are_one_token() -> None:
    assert len(text_generator._tokenizer(tiny())(" the other")["input_ids"]) < len(" the other")


@pytest.mark.parametrize("ends", [(1, 32), (0, [3, 5]), (None, 399)])
def test_the_ends_of_text_stand_where_the_config_has_them(tmp_path: Path, ends: tuple[Any, Any]) -> None:
    config = SMALL | {"model_type": "llama", "bos_token_id": ends[0], "eos_token_id": ends[1]}
    tokenizer = text_generator._tokenizer(a_source(tmp_path, config))
    assert tokenizer.eos_token_id == (ends[1][0] if isinstance(ends[1], list) else ends[1])
    assert tokenizer.bos_token_id == ends[0]
    assert tokenizer.decode(tokenizer("plain text")["input_ids"]) == "plain text"


# --- the reference ----------------------------------------------------------------------------------------------------


def test_the_reference_is_greedy_and_its_logits_are_those_of_one_pass_over_its_tokens(referred: Any) -> None:
    feeds, outputs = referred
    first = outputs[0]
    assert (first["tokens"].dtype, first["tokens"].shape) == (np.int64, (1, 32))
    assert (first["logits"].dtype, first["logits"].shape) == (np.float32, (1, 16, 1024))
    np.testing.assert_array_equal(first["logits"].argmax(-1), first["tokens"][:, :16])
    whole = scored(text_generator.load(tiny()), feeds, outputs)
    np.testing.assert_allclose(whole[:1], first["logits"], atol=1e-4)
    ordered = np.sort(first["logits"], axis=-1)
    np.testing.assert_allclose(first["gaps"][:, :16], ordered[..., -1] - ordered[..., -2], rtol=1e-5)
    assert within("fp32", outputs, whole)


def test_the_reference_continues_the_context() -> None:
    whole = text_generator.make_inputs(tiny(), SIZES | {"prompt": 60}, None)
    cut = text_generator.make_inputs(tiny(), SIZES | {"prompt": 20, "context": 40}, None)
    one, other = (text_generator.reference(tiny(), feeds, 8)[0][0]["tokens"] for feeds in (whole, cut))
    np.testing.assert_array_equal(one, other)


def test_the_end_of_sequence_is_no_end(tmp_path: Path, referred: Any) -> None:
    feeds, outputs = referred
    source = a_source(tmp_path, TINY | {"eos_token_id": int(outputs[0]["tokens"][0, 1])})
    again = text_generator.reference(source, feeds, 32)[0]
    np.testing.assert_array_equal(again[0]["tokens"], outputs[0]["tokens"])


def test_facts_hold_the_prompt_as_text_and_next_tokens_that_the_model_gives(referred: Any) -> None:
    feeds, outputs = referred
    facts = json.loads(json.dumps(text_generator.facts(tiny(), feeds, outputs)))
    model, tokenizer = text_generator.load(tiny()), text_generator._tokenizer(tiny())
    assert facts["parameters"] == 1_705_216
    assert tokenizer(facts["prompts"][0])["input_ids"] == feeds[0]["input_ids"][0].tolist()
    assert 8 <= len(facts["prefixes"]) <= 16
    for each in facts["prefixes"]:
        assert facts["prompts"][0].startswith(each["prefix"])
        with torch.inference_mode():
            best = model(input_ids=torch.tensor([tokenizer(each["prefix"])["input_ids"]])).logits[0, -1].argmax()
        assert tokenizer.decode([int(best)]) == each["next"]


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_saved_folder_is_the_same_model_and_is_used_as_it_is(tmp_path: Path) -> None:
    assert text_generator.folder(tiny(), tmp_path) == tmp_path
    saved = Source(kind="folder", path=str(tmp_path), weights="pretrained", digest="")
    assert text_generator.folder(saved, tmp_path / "unused") == tmp_path
    made, loaded = text_generator.load(tiny()).state_dict(), text_generator.load(saved).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in made.items())
    feeds = [text_generator.make_inputs(source, SIZES, None)[0]["input_ids"] for source in (tiny(), saved)]
    np.testing.assert_array_equal(*feeds)
    assert text_generator.describe_inputs(saved, SIZES, None) == ()
    assert text_generator.describe_inputs(tiny(), SIZES, None) == (note("byte-tokens"),)


# --- random weights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "digest"),
    [
        (TINY, "09d700004d2bc83c"),
        (SMALL | {"model_type": "qwen2", "tie_word_embeddings": True}, "7b79f56ad199583e"),
        (SMALL | {"model_type": "qwen3", "tie_word_embeddings": True, "head_dim": 32}, "2dd7c25ace4caa8d"),
        (SMALL | {"model_type": "phi3"}, "9ba5483a522b106a"),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else "",
)
def test_random_weights_are_the_same_bytes_under_every_version(
    tmp_path: Path, config: dict[str, Any], digest: str
) -> None:
    model = text_generator.load(a_source(tmp_path, config))
    total = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        total.update(name.encode() + parameter.detach().numpy().tobytes())
    assert total.hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("qwen3-moe", "6131885418da8cdd"),
        ("mixtral", "37f195f73f75e8b6"),
        ("gpt-oss", "d7c9684ceccb9a0e"),
        ("gemma2", "3c663e28ad265102"),
        ("opt", "f7d5d252e2e09c4c"),
        ("olmo", "3a21375bf8e738ba"),
    ],
    ids=lambda value: value,
)
def test_a_model_whose_parameters_have_other_names_in_other_versions_is_the_same_one(
    tmp_path: Path, name: str, digest: str
) -> None:
    """transformers 5 keeps all experts of a layer in one tensor: drawn by those names, it would be another model."""
    model = text_generator.load(generators.a_source(tmp_path, name))
    saved = {name: tensor for name, tensor in _random_weights._as_saved(model).items() if name != "lm_head.weight"}
    total = hashlib.sha256()
    for each, tensor in sorted(saved.items()):
        total.update(each.encode() + tensor.detach().numpy().tobytes())
    assert total.hexdigest()[:16] == digest


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "olmo", "opt", "gpt2", "qwen3-moe", "bloom", "stablelm"])
def test_random_weights_of_any_architecture_have_logits_that_are_not_flat_and_answer_no_token_with_itself(
    tmp_path: Path, name: str
) -> None:
    source = generators.a_source(tmp_path, name)
    feeds = text_generator.make_inputs(source, SIZES, None)
    ids = torch.from_numpy(feeds[0]["input_ids"])
    with torch.inference_mode():
        logits = text_generator.load(source)(input_ids=ids).logits[0]
    assert 1.7 < logits.std(-1).mean() < 3.6
    assert (logits.argmax(-1) == ids[0]).float().mean() < 0.2


def test_a_model_without_keys_and_values_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="MambaForCausalLM keeps no cache of keys and values") as refused:
        text_generator.load(generators.a_source(tmp_path, "mamba"))
    assert refused.value.status == "unsupported"


def test_a_number_that_json_lacks_is_read_as_transformers_writes_it(tmp_path: Path) -> None:
    source = a_source(tmp_path, TINY | {"time_step_limit": [0.0, {"__float__": "Infinity"}]})
    assert hugging_face.config_fields(source)["time_step_limit"] == [0.0, float("inf")]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "phi3"])
def test_random_weights_have_no_constant_and_logits_that_are_not_flat(tmp_path: Path, kind: str) -> None:
    tied = kind.startswith("qwen")
    source = a_source(tmp_path, SMALL | {"model_type": kind, "tie_word_embeddings": tied})
    model = text_generator.load(source)
    constant = [name for name, values in model.named_parameters() if bool((values == values.flatten()[0]).all())]
    assert constant == []
    feeds = text_generator.make_inputs(source, SIZES | {"prompt": 24}, None)
    outputs = text_generator.reference(source, feeds, 32)[0]
    assert 2.0 < np.concatenate([output["logits"] for output in outputs]).std(axis=-1).mean() < 3.0
    # A tied head would answer each token with itself, had the last norm no signs; pairs may still answer each other.
    assert all(len(set(output["tokens"][0, :8].tolist())) > 3 for output in outputs)
    assert tied or all(len(set(output["tokens"][0].tolist())) > 16 for output in outputs)


def test_the_tokens_of_two_prompts_are_different(referred: Any) -> None:
    _, outputs = referred
    assert (outputs[0]["tokens"] == outputs[1]["tokens"]).mean() < 0.2
    assert min(len(set(output["tokens"][0].tolist())) for output in outputs) > 24


@pytest.mark.parametrize("number_format", FORMATS)
def test_other_weights_a_prompt_moved_by_one_and_a_broken_rotary_embedding_pass_no_tolerance(
    referred: Any, number_format: str
) -> None:
    feeds, outputs = referred
    model = text_generator.load(tiny())
    broken = copy.deepcopy(model)
    broken.model.rotary_emb.inv_freq *= 0
    assert not within(number_format, outputs, scored(text_generator.load(tiny(seed=1)), feeds, outputs))
    assert not within(number_format, outputs, scored(model, feeds, outputs, lambda ids: np.roll(ids, -1, axis=1)))
    assert not within(number_format, outputs, scored(broken, feeds, outputs))


def test_half_precisions_pass_their_own_tolerance_and_not_that_of_fp32(referred: Any) -> None:
    feeds, outputs = referred
    for number_format, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        have = scored(text_generator.load(tiny()).to(dtype), feeds, outputs)
        assert within(number_format, outputs, have)
        assert not within("fp32", outputs, have)


def test_weights_that_were_rounded_to_fp16_are_not_fp32(referred: Any) -> None:
    feeds, outputs = referred
    rounded = text_generator.load(tiny()).half().float()
    assert not within("fp32", outputs, scored(rounded, feeds, outputs))


@pytest.mark.parametrize("name", ["llama-88m", "qwen2.5-0.5b", "qwen3-0.6b", "llama-3.2-1b", "phi-3-mini"])
def test_the_configs_describe_models_of_the_size_in_their_name(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    source = Source(kind="config", path=str(CONFIGS / f"{name}.json"), weights="random", digest="")
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(hugging_face.config(source))
    published = {"llama-88m": 88, "qwen2.5-0.5b": 494, "qwen3-0.6b": 596, "llama-3.2-1b": 1236, "phi-3-mini": 3821}
    assert round(hugging_face.parameters(model) / 1e6) == published[name]
