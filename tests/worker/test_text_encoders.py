"""Text encoders of many architectures: what they take, how they are exported, and the embedding that users get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from limits import limits  # noqa: E402
from tiny_models import BERT, saved  # noqa: E402

from bench.records import Build, Recipe, Source, Tolerance, note  # noqa: E402
from bench.worker import artifacts, hugging_face, parity  # noqa: E402
from bench.worker.families import text_encoder  # noqa: E402
from bench.worker.pytorch import onnx_export, pooling  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402

T5 = {"d_model": 64, "d_kv": 32, "d_ff": 128, "num_layers": 2, "num_heads": 2, "vocab_size": 500, "pad_token_id": 1}
LLAMA = BERT | {"num_key_value_heads": 1, "head_dim": 32}
DEBERTA = BERT | {
    "relative_attention": True,
    "position_buckets": 32,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}


def t5gemma() -> Any:
    """The pair of encoder and decoder, whose encoder has a class of its own."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    tower = transformers.T5GemmaModuleConfig(
        **sizes, vocab_size=500, num_key_value_heads=2, head_dim=16, sliding_window=32, max_position_embeddings=512
    )
    return transformers.T5GemmaForConditionalGeneration(
        transformers.T5GemmaConfig(encoder=tower, decoder=tower, vocab_size=500)
    )


ARCHITECTURES: dict[str, Any] = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**BERT)),
    "distilbert": lambda: transformers.DistilBertModel(
        transformers.DistilBertConfig(dim=64, n_layers=2, n_heads=2, hidden_dim=128, vocab_size=500, pad_token_id=1)
    ),
    "roberta": lambda: transformers.RobertaModel(transformers.RobertaConfig(**BERT, type_vocab_size=1)),
    "deberta": lambda: transformers.DebertaModel(transformers.DebertaConfig(**DEBERTA, max_relative_positions=64)),
    "deberta-v2": lambda: transformers.DebertaV2Model(transformers.DebertaV2Config(**DEBERTA)),
    "modernbert": lambda: transformers.ModernBertModel(
        transformers.ModernBertConfig(**BERT, local_attention=16, global_attn_every_n_layers=2)
    ),
    "squeezebert": lambda: transformers.SqueezeBertModel(
        transformers.SqueezeBertConfig(**BERT, embedding_size=64, q_groups=2, k_groups=2, v_groups=2)
    ),
    "layoutlm": lambda: transformers.LayoutLMModel(transformers.LayoutLMConfig(**BERT)),
    "xlnet": lambda: transformers.XLNetModel(
        transformers.XLNetConfig(vocab_size=500, d_model=64, n_layer=2, n_head=2, d_inner=128)
    ),
    "t5": lambda: transformers.T5EncoderModel(transformers.T5Config(**T5)),
    "t5 with a decoder": lambda: transformers.T5ForConditionalGeneration(transformers.T5Config(**T5)),
    "t5gemma": t5gemma,
    "qwen3": lambda: transformers.Qwen3Model(transformers.Qwen3Config(**LLAMA)),
    # Attends to both sides, and within a window.
    "embedding gemma": lambda: transformers.Gemma3TextModel(
        transformers.Gemma3TextConfig(
            **LLAMA,
            use_bidirectional_attention=True,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention"],
        )
    ),
    # One of its layers has heads of another width.
    "embedding gemma 2": lambda: transformers.EmbeddingGemma2TextModel(
        transformers.EmbeddingGemma2TextConfig(
            **LLAMA,
            sliding_window=32,
            hidden_size_per_layer_input=16,
            embedding_dim=48,
            per_layer_config={1: {"head_dim": 64, "num_key_value_heads": 2}},
            layer_types=["sliding_attention", "full_attention"],
        )
    ),
    "gpt2": lambda: transformers.GPT2Model(
        transformers.GPT2Config(vocab_size=500, n_embd=64, n_layer=2, n_head=2, n_positions=130)
    ),
}


def exported(source: Source, folder: Path) -> tuple[ort.InferenceSession, str]:
    """A session of the export, and the exporter."""
    folder.mkdir()
    built = artifacts.build(Build("onnx", "text-encoder", source, Recipe("fp32"), str(folder), opset=18))
    exporter = next(each.values["exporter"] for each in built.notes if each.kind == "exported-by")
    return ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"]), str(exporter)


def answers(session: ort.InferenceSession, feed: dict[str, Any]) -> dict[str, Any]:
    names = [output.name for output in session.get_outputs()]
    taken = {value.name for value in session.get_inputs()}
    return dict(zip(names, session.run(names, {name: feed[name] for name in taken}), strict=True))


def agrees(session: ort.InferenceSession, source: Source, sizes: dict[str, int], number_format: str = "fp32") -> bool:
    """Whether a session answers every batch of a workload as PyTorch does, within the limits of a number format."""
    feeds = text_encoder.make_inputs(source, sizes, None)
    outputs, by = text_encoder.reference(source, feeds)
    expected = [text_encoder.comparable(output, feed) for output, feed in zip(outputs, feeds, strict=True)]
    actual = [text_encoder.comparable(answers(session, feed), feed) for feed in feeds]
    limit = limits("text-encoder")[number_format]
    compared = parity.compare(expected, actual, limit, by)
    return compared.cosine >= limit.min_cosine and compared.relative_error <= limit.max_relative_error


# --- architectures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_is_exported_right_at_other_shapes_than_it_was_traced_with(tmp_path: Path, name: str) -> None:
    source = saved(tmp_path / "model", ARCHITECTURES[name]())
    session, _ = exported(source, tmp_path / "out")
    for sizes in ({"batch": 1, "sequence": 100}, {"batch": 5, "sequence": 9}):
        assert agrees(session, source, sizes)


@pytest.mark.parametrize("name", ["bert", "modernbert", "t5", "qwen3"])
def test_the_reference_is_what_the_models_own_class_computes(tmp_path: Path, name: str) -> None:
    model = ARCHITECTURES[name]()
    source = saved(tmp_path / "model", model)
    feeds = text_encoder.make_inputs(source, {"batch": 2, "sequence": 24}, None)
    columns = {key: torch.from_numpy(feeds[1][key]) for key in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        expected = model(**columns).last_hidden_state.numpy()
    outputs, _ = text_encoder.reference(source, feeds)
    np.testing.assert_allclose(outputs[1]["last_hidden_state"], expected, atol=1e-5)


def test_only_the_encoder_of_a_model_with_a_decoder_is_run_and_the_row_says_so(tmp_path: Path) -> None:
    config = transformers.BartConfig(
        d_model=64, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=128, decoder_ffn_dim=128, vocab_size=500, pad_token_id=1, max_position_embeddings=64,
    )  # fmt: skip
    model = transformers.BartForConditionalGeneration(config)
    source = saved(tmp_path / "model", model)
    said = text_encoder.describe_inputs(source, {}, None)
    assert note("part-of-checkpoint", checkpoint="BartForConditionalGeneration", part="encoder") in said
    feeds = text_encoder.make_inputs(source, {"batch": 1, "sequence": 12}, None)
    with torch.inference_mode():
        expected = model.get_encoder()(torch.from_numpy(feeds[0]["input_ids"])).last_hidden_state.numpy()
    np.testing.assert_allclose(text_encoder.reference(source, feeds)[0][0]["last_hidden_state"], expected, atol=1e-5)


def test_the_text_side_of_clip_gives_the_embedding_that_is_compared_with_pictures(tmp_path: Path) -> None:
    text = BERT | {"max_position_embeddings": 77}
    vision = {key: BERT[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    config = transformers.CLIPConfig(
        text_config=text, vision_config=vision | {"image_size": 32, "patch_size": 8}, projection_dim=32
    )
    model = transformers.CLIPModel(config)
    source = saved(tmp_path / "model", model)
    feeds = text_encoder.make_inputs(source, {"batch": 2, "sequence": 24}, None)
    with torch.inference_mode():
        columns = {key: torch.from_numpy(value) for key, value in feeds[1].items()}
        expected = model.get_text_features(**columns).pooler_output.numpy()
    outputs, _ = text_encoder.reference(source, feeds)
    assert list(outputs[1]) == ["last_hidden_state", "sentence_embedding"]
    np.testing.assert_allclose(outputs[1]["sentence_embedding"], expected, atol=1e-5)
    assert note("part-of-checkpoint", checkpoint="CLIPModel", part="text side") in text_encoder.describe_inputs(
        source, {}, None
    )
    session, _ = exported(source, tmp_path / "out")
    assert agrees(session, source, {"batch": 3, "sequence": 70})


def test_a_checkpoint_that_takes_no_text_is_refused_by_what_it_holds(tmp_path: Path) -> None:
    config = transformers.ViTConfig(**{key: BERT[key] for key in ("hidden_size", "num_hidden_layers")}, image_size=32)
    config.num_attention_heads = 2
    transformers.ViTModel(config).save_pretrained(tmp_path)
    source = Source(kind="folder", path=str(tmp_path), weights="pretrained", digest="")
    with pytest.raises(Refusal, match="holds a ViTModel, which takes pixel_values") as refused:
        text_encoder.load(source)
    assert refused.value.status == "unsupported"


# --- columns and lengths ----------------------------------------------------------------------------------------------


def test_token_types_are_zeros_where_only_the_model_has_them(tmp_path: Path) -> None:
    source = saved(tmp_path / "model", ARCHITECTURES["bert"]())
    feeds = text_encoder.make_inputs(source, {"batch": 2, "sequence": 16}, None)
    assert all(set(feed) == {"input_ids", "attention_mask", "token_type_ids"} for feed in feeds)
    assert not any(feed["token_type_ids"].any() for feed in feeds)
    session, _ = exported(source, tmp_path / "out")
    assert agrees(session, source, {"batch": 2, "sequence": 16})


def test_columns_that_only_the_tokenizer_has_reach_neither_reference_nor_calibration_nor_session(
    tmp_path: Path,
) -> None:
    columns = ("input_ids", "token_type_ids", "attention_mask")
    source = saved(tmp_path / "model", ARCHITECTURES["distilbert"](), columns=columns)
    session, _ = exported(source, tmp_path / "out")
    assert {value.name for value in session.get_inputs()} == {"input_ids", "attention_mask"}
    assert agrees(session, source, {"batch": 2, "sequence": 16})
    (tmp_path / "int8").mkdir()
    recipe = Recipe("static-qdq-int8", {"samples": 4})
    artifacts.build(
        Build("onnx", "text-encoder", source, recipe, str(tmp_path / "int8"), str(tmp_path / "out"), opset=18)
    )
    session = ort.InferenceSession(tmp_path / "int8" / "model.onnx", providers=["CPUExecutionProvider"])
    assert agrees(session, source, {"batch": 2, "sequence": 16}, "int4")


@pytest.mark.parametrize(("name", "longest"), [("roberta", 128), ("bert", 130), ("qwen3", 130)])
def test_a_longer_sequence_than_the_model_has_positions_for_is_refused_with_that_length(
    tmp_path: Path, name: str, longest: int
) -> None:
    """RoBERTa's first position is behind that of padding, so that 130 rows hold 128 tokens."""
    source = saved(tmp_path, ARCHITECTURES[name]())
    feeds = text_encoder.make_inputs(source, {"batch": 1, "sequence": longest}, None)
    assert np.isfinite(text_encoder.reference(source, feeds[:1])[0][0]["last_hidden_state"]).all()
    with pytest.raises(Refusal, match=f"longer than the {longest} tokens this model takes") as refused:
        text_encoder.make_inputs(source, {"batch": 1, "sequence": longest + 1}, None)
    assert refused.value.status == "unsupported"
    assert f"sequence = {longest}" in refused.value.remedy


@pytest.mark.parametrize("name", ["xlnet", "deberta-v2", "t5"])
def test_a_model_of_relative_positions_takes_any_length(tmp_path: Path, name: str) -> None:
    source = saved(tmp_path, ARCHITECTURES[name]())
    feeds = text_encoder.make_inputs(source, {"batch": 1, "sequence": 300}, None)
    assert text_encoder.reference(source, feeds[:1])[0][0]["last_hidden_state"].shape == (1, 300, 64)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    small = transformers.BertModel(transformers.BertConfig(**BERT | {"vocab_size": 20}))
    with pytest.raises(Refusal, match="the model's table has 20 rows"):
        text_encoder.make_inputs(saved(tmp_path, small), {"batch": 1, "sequence": 16}, None)


def test_files_that_begin_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    source, plain = (saved(tmp_path / name, ARCHITECTURES["bert"]()) for name in ("marked", "plain"))
    files = list((tmp_path / "marked").glob("*.json"))
    assert {"config.json", "tokenizer.json"} <= {path.name for path in files}
    for path in files:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert hugging_face.tokenizer(source) is not None
    sizes = {"batch": 1, "sequence": 8}
    marked, expected = (
        text_encoder.reference(each, text_encoder.make_inputs(each, sizes, None))[0] for each in (source, plain)
    )
    np.testing.assert_array_equal(marked[0]["last_hidden_state"], expected[0]["last_hidden_state"])
    # The user's files stay as they are.
    assert all(path.read_bytes().startswith(b"\xef\xbb\xbf") for path in files)


# --- embeddings -------------------------------------------------------------------------------------------------------


def with_modules(
    folder: Path, modes: dict[str, Any], *, dense: bool = False, name: str = "bert", **options: Any
) -> Any:
    """A sentence-transformers folder, and its encoder."""
    model = ARCHITECTURES[name]()
    source = saved(folder, model, **options)
    names = ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    entries = [
        {"idx": index, "path": f"{index}_{each}" if index else "", "type": f"sentence_transformers.models.{each}"}
        for index, each in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(entries), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes), encoding="utf-8")
    return source, model


def by_hand(hidden: Any, mask: Any, mode: str) -> Any:
    """The pooled vector of each passage, one passage after another."""
    rows = [row[taken > 0] for row, taken in zip(hidden, mask, strict=True)]
    pools = {
        "cls": lambda row, whole: whole[0],
        "mean": lambda row, whole: row.mean(0),
        "max": lambda row, whole: row.max(0),
        "lasttoken": lambda row, whole: row[-1],
        "weightedmean": lambda row, whole: np.average(row, axis=0, weights=np.arange(1, len(row) + 1)),
    }
    return np.stack([pools[mode](row, whole) for row, whole in zip(rows, hidden, strict=True)])


def pooled(source: Source, model: Any, sizes: dict[str, int], mode: str) -> tuple[Any, Any]:
    """What the family's reference gives as embeddings of padded passages, and the vectors pooled by hand."""
    feeds = text_encoder.make_inputs(source, sizes, None)
    columns = {key: torch.from_numpy(value) for key, value in feeds[-1].items()}
    with torch.inference_mode():
        hidden = model(**columns).last_hidden_state.numpy()
    outputs, _ = text_encoder.reference(source, feeds)
    return outputs[-1]["sentence_embedding"], by_hand(hidden, feeds[-1]["attention_mask"], mode)


@pytest.mark.parametrize(
    ("modes", "mode"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "lasttoken"),
        ({"pooling_mode": "mean"}, "mean"),
    ],
)
def test_the_embedding_is_that_of_the_folders_modules(tmp_path: Path, modes: dict[str, Any], mode: str) -> None:
    source, model = with_modules(tmp_path, modes)
    actual, expected = pooled(source, model, {"batch": 4, "sequence": 24}, mode)
    np.testing.assert_allclose(actual, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    assert text_encoder.describe_inputs(source, {}, None)[-1] == note("pooling", steps=(mode, "normalize"))


@pytest.mark.parametrize("mode", ["lasttoken", "weightedmean"])
def test_padding_on_the_left_does_not_change_which_token_is_the_last(tmp_path: Path, mode: str) -> None:
    key = {"lasttoken": "pooling_mode_lasttoken", "weightedmean": "pooling_mode_weightedmean_tokens"}[mode]
    source, model = with_modules(
        tmp_path, {key: True, "pooling_mode_mean_tokens": False}, name="qwen3", padding_side="left"
    )
    actual, expected = pooled(source, model, {"batch": 4, "sequence": 24}, mode)
    if mode == "lasttoken":
        np.testing.assert_allclose(actual, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    session, exporter = exported(source, tmp_path / "out")
    assert exporter.startswith("torch.onnx")
    assert agrees(session, source, {"batch": 3, "sequence": 50})


def test_a_dense_layer_is_a_part_of_the_embedding(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    source, model = with_modules(tmp_path, {"pooling_mode_mean_tokens": True}, dense=True)
    folder = tmp_path / "2_Dense"
    folder.mkdir()
    config = {
        "in_features": 64,
        "out_features": 16,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weight, bias = torch.randn(16, 64), torch.randn(16)
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "model.safetensors")
    actual, mean = pooled(source, model, {"batch": 2, "sequence": 24}, "mean")
    expected = np.tanh(mean @ weight.numpy().T + bias.numpy())
    np.testing.assert_allclose(actual, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    session, _ = exported(source, tmp_path / "out")
    assert agrees(session, source, {"batch": 3, "sequence": 40})
    # Without its weights the layer would be left out, and the embedding another one.
    (folder / "model.safetensors").unlink()
    with pytest.raises(Refusal, match=r"2_Dense has no model\.safetensors"):
        text_encoder.load(source)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"type": "custom_st.Transformer"}, "begins with 'custom_st.Transformer'"),
        ({"type": "sentence_transformers.models.CLIPModel"}, "begins with 'sentence_transformers.models.CLIPModel'"),
        ({"path": "0_Transformer"}, "has its encoder in the folder '0_Transformer'"),
        ({"path": "../elsewhere"}, "outside the folder"),
        ({"path": None}, "has a module without a type or a path"),
        ({"type": 7}, "has a module without a type or a path"),
    ],
)
def test_modules_that_are_not_known_are_refused_and_not_left_out(
    tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    source, _ = with_modules(tmp_path, {"pooling_mode_mean_tokens": True})
    entries = json.loads((tmp_path / "modules.json").read_text(encoding="utf-8"))
    (tmp_path / "modules.json").write_text(json.dumps([entries[0] | change, *entries[1:]]), encoding="utf-8")
    with pytest.raises(Refusal, match=sentence) as refused:
        text_encoder.load(source)
    assert "modules.json" in refused.value.remedy


def pooling_folder(folder: Path, config: Any, later: str = "sentence_transformers.models.Normalize") -> Path:
    """The folder of an embedding, without its encoder; `config` is that of the pooling, None for no file."""
    types = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling", later]
    entries = [{"path": ("", "1_Pooling", "2_Last")[index], "type": each} for index, each in enumerate(types)]
    (folder / "modules.json").write_text(json.dumps(entries), encoding="utf-8")
    for name in ("1_Pooling", "2_Last"):
        (folder / name).mkdir(exist_ok=True)
    if config is not None:
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({"word_embedding_dimension": 64}, ("mean",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, ("cls", "mean")),
        # A list is joined in its own order, and the older keys are not read beside it.
        ({"pooling_mode": ["mean", "cls"], "pooling_mode_max_tokens": True}, ("mean", "cls")),
        ({"pooling_mode": "mean_sqrt_len_tokens", "embedding_dimension": 64}, ("mean_sqrt_len",)),
    ],
)
def test_the_modes_are_those_that_sentence_transformers_takes(tmp_path: Path, config: Any, modes: Any) -> None:
    embedding = pooling.read(pooling_folder(tmp_path, config), width=64)
    assert embedding is not None
    assert embedding.modes == modes


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (None, r"1_Pooling/config\.json is missing"),
        ([], r"1_Pooling/config\.json holds no object"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": False}, "has no mode that is true"),
        ({"pooling_mode_cls_token": True}, "does not say pooling_mode_mean_tokens"),
        ({"pooling_mode": 3}, "pooling_mode is 3"),
        ({"pooling_mode": [["mean"]]}, "pooling_mode is "),
        ({"pooling_mode": []}, "pooling_mode is "),
        ({"pooling_mode_mean_tokens": "yes"}, 'pooling_mode_mean_tokens is "yes"'),
        ({"pooling_mode": "attention"}, "its pooling is attention"),
        ({"word_embedding_dimension": 32}, "takes vectors of 32 numbers, and the encoder gives 64"),
        ({"word_embedding_dimension": "64"}, 'a width of "64"'),
    ],
)
def test_a_pooling_that_is_not_declared_is_not_assumed(tmp_path: Path, config: Any, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence) as refused:
        pooling.read(pooling_folder(tmp_path, config), width=64)
    assert (refused.value.status, bool(refused.value.remedy)) == ("unsupported", True)


@pytest.mark.parametrize("type_", ["my_pkg.Normalize", "Normalize", "sentence_transformers_more.Normalize"])
def test_a_module_of_another_package_is_not_taken_for_an_own_one(tmp_path: Path, type_: str) -> None:
    with pytest.raises(Refusal, match=f"names '{type_}', which is no module of sentence-transformers"):
        pooling.read(pooling_folder(tmp_path, {"pooling_mode": "mean"}, type_))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"out_features": 4}, "has no in_features"),
        ({"in_features": 8, "out_features": "4"}, 'says "4" as its out_features'),
        ({"in_features": 9, "out_features": 4}, "2_Last takes vectors of 9 numbers, and gets 8"),
        ({"in_features": 8, "out_features": 5}, r"linear\.bias of shape \[4\], and its config\.json asks for \[5\]"),
        ({"in_features": 8, "out_features": 4, "use_residual": True}, "has a residual connection"),
        ({"in_features": 8, "out_features": 4, "activation_function": "my_pkg.Tanh"}, r"the activation my_pkg\.Tanh"),
    ],
)
def test_a_dense_layer_that_contradicts_itself_is_refused(tmp_path: Path, config: Any, sentence: str) -> None:
    from safetensors.torch import save_file

    folder = pooling_folder(tmp_path, {"pooling_mode": "mean"}, "sentence_transformers.models.Dense")
    (folder / "2_Last" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = {"linear.weight": torch.zeros(4, 8), "linear.bias": torch.zeros(4)}
    save_file(weights, folder / "2_Last" / "model.safetensors")
    with pytest.raises(Refusal, match=sentence):
        pooling.read(folder, width=8)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"7", b'["mean"]'])
def test_a_list_of_modules_that_is_damaged_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "modules.json").write_bytes(content)
    with pytest.raises(Refusal, match=r"modules\.json (is no JSON that can be read|holds no list of modules)"):
        pooling.read(tmp_path)


def test_a_wrong_embedding_beside_right_tokens_is_seen(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    feed = {"attention_mask": np.ones((2, 8), np.int64)}
    right = {"last_hidden_state": rng.standard_normal((2, 8, 16)), "sentence_embedding": rng.standard_normal((2, 16))}
    wrong = right | {"sentence_embedding": right["sentence_embedding"][::-1]}
    rows = [text_encoder.comparable(right, feed)], [text_encoder.comparable(wrong, feed)]
    assert parity.compare(*rows, Tolerance(0.9), "itself").cosine < 0.9


def test_the_layers_of_a_pooling_that_change_nothing_are_skipped(tmp_path: Path) -> None:
    entries = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Dropout", "type": "sentence_transformers.models.Dropout"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(entries), encoding="utf-8")
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 64}', encoding="utf-8")
    embedding = pooling.read(tmp_path)
    assert embedding is not None
    assert embedding.steps == ("mean",)


# --- exports ----------------------------------------------------------------------------------------------------------


def test_an_export_that_is_right_only_at_the_shape_it_was_traced_with_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a model that computes a number of tokens in Python: the graph keeps that of the example."""
    source = saved(tmp_path / "model", ARCHITECTURES["bert"]())

    def forward(self: Any, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> dict[str, Any]:
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return {"last_hidden_state": hidden / int(input_ids.shape[1])}

    def fails(*_: Any) -> None:
        raise RuntimeError("this exporter knows no such model")

    monkeypatch.setattr("bench.worker.pytorch.encoders.TextEncoder.forward", forward)
    # The newest exporter keeps what Python computes of a shape, and its graph is right.
    monkeypatch.setattr(onnx_export, "_dynamo", fails)
    (tmp_path / "out").mkdir()
    with pytest.raises(Refusal, match=r"TorchScript\): last_hidden_state differs from PyTorch's by") as refused:
        text_encoder.export(source, tmp_path / "out", 18)
    assert refused.value.status == "unsupported"
    assert "dynamo): RuntimeError: this exporter knows no such model" in refused.value.message
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["deberta", "embedding gemma"])
def test_a_function_that_torchscript_cannot_trace_needs_no_other_exporter(tmp_path: Path, name: str) -> None:
    """DeBERTa computes its span in Python, beyond 64 tokens by another branch; EmbeddingGemma's mask is by vmap."""
    from transformers import masking_utils
    from transformers.models.deberta import modeling_deberta

    before = modeling_deberta.compute_attention_span, masking_utils.sdpa_mask
    source = saved(tmp_path / "model", ARCHITECTURES[name]())
    session, exporter = exported(source, tmp_path / "out")
    assert exporter == "torch.onnx (TorchScript)"
    assert all(agrees(session, source, {"batch": 2, "sequence": length}) for length in (16, 40, 64, 65, 128))
    assert before == (modeling_deberta.compute_attention_span, masking_utils.sdpa_mask)


def test_where_the_first_exporter_fails_the_next_writes_one_file_that_recipes_can_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")

    def fails(*_: Any) -> None:
        raise RuntimeError("this exporter knows no such model")

    monkeypatch.setattr(onnx_export, "_torchscript", fails)
    source = saved(tmp_path / "model", ARCHITECTURES["distilbert"]())
    session, exporter = exported(source, tmp_path / "out")
    assert exporter == "torch.onnx (dynamo)"
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["model.onnx"]
    assert session.get_inputs()[0].shape == ["batch_size", "sequence_length"]
    assert agrees(session, source, {"batch": 3, "sequence": 40})
    (tmp_path / "int8").mkdir()
    recipe = Recipe("dynamic-int8")
    artifacts.build(Build("onnx", "text-encoder", source, recipe, str(tmp_path / "int8"), str(tmp_path / "out")))
    session = ort.InferenceSession(tmp_path / "int8" / "model.onnx", providers=["CPUExecutionProvider"])
    assert agrees(session, source, {"batch": 3, "sequence": 40}, "int8")
