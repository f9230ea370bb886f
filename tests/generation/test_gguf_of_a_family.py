"""The GGUF of a model with random weights, as the family makes it."""

from __future__ import annotations

import json

import gguf
import numpy as np
from language_models import a_config

from bench.records import Source
from bench.worker.families import text_generator
from bench.worker.formats import gguf as form
from bench.worker.recipes import Context


def test_a_model_with_random_weights_is_written_as_the_family_makes_it(tmp_path):
    config, out = tmp_path / "config.json", tmp_path / "out"
    config.write_text(json.dumps(a_config()), encoding="utf-8")
    out.mkdir()
    source = Source(kind="config", path=str(config), weights="random", digest="")
    assert form.gguf_f32(Context(text_generator, source), out) == ()
    assert [path.name for path in out.iterdir()] == ["model.gguf"]
    reader = gguf.GGUFReader(out / "model.gguf")
    have = {tensor.name: np.asarray(tensor.data) for tensor in reader.tensors}
    want = dict(text_generator.load(source).named_parameters())
    for ours, theirs in {"token_embd": "model.embed_tokens", "blk.1.ffn_up": "model.layers.1.mlp.up_proj"}.items():
        np.testing.assert_array_equal(have[f"{ours}.weight"], want[f"{theirs}.weight"].detach().numpy())
    assert len(reader.fields["tokenizer.ggml.merges"].contents()) > 1
