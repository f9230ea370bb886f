"""Files of strangers: names that lead outside, claims of a terabyte, and code beside a model."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from tiny_models import BERT, add_tokenizer, lively

onnx = pytest.importorskip("onnx")

from onnx import TensorProto as Kind  # noqa: E402
from onnx import helper  # noqa: E402

from bench.records import Source  # noqa: E402
from bench.worker import hugging_face  # noqa: E402
from bench.worker.families import _onnx_graph, onnx_file  # noqa: E402
from bench.worker.formats import _onnx_bounds as bounds  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402

TERABYTE = 2**38
"""So many FP32 numbers."""
ADD = helper.make_node("Add", ["x", "w"], ["y"])


def a_model(nodes: Any, tensors: Any = (), sparse: Any = (), size: Any = "n") -> Any:
    inputs = [helper.make_tensor_value_info("x", Kind.FLOAT, [size])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", Kind.FLOAT, None)], list(tensors))
    graph.sparse_initializer.extend(sparse)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def written(path: Path, model: Any) -> Source:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return Source("onnx", str(path), "pretrained", "0" * 64)


def outside(location: str, **entries: object) -> Any:
    """A weight of four numbers in another file."""
    tensor = Kind(name="w", data_type=Kind.FLOAT, dims=[4], data_location=Kind.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the user beside the folder of the model."""
    path = tmp_path / "secret.bin"
    path.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    return path


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["../secret.bin", "{}", "a/../../secret.bin", "..\\secret.bin", "C:\\secret.bin"])
def test_weights_outside_the_folder_are_never_read(tmp_path: Path, secret: Path, where: str) -> None:
    source = written(tmp_path / "model" / "m.onnx", a_model([ADD], [outside(where.format(secret))]))
    with pytest.raises(Refusal, match="keeps data outside its own folder"):
        onnx_file.reference(source, [{"x": np.zeros(4, np.float32)}])
    with pytest.raises(Refusal, match="keeps data outside its own folder"):
        onnx_file.export(source, tmp_path, 18)


def test_weights_behind_a_link_that_leads_outside_are_never_read(tmp_path: Path, secret: Path) -> None:
    source = written(tmp_path / "model" / "m.onnx", a_model([ADD], [outside("w.bin")]))
    (tmp_path / "model" / "w.bin").symlink_to(secret)
    with pytest.raises(Refusal, match=r"w\.bin, which is a link to a file outside its folder"):
        onnx_file.reference(source, [{"x": np.zeros(4, np.float32)}])
    (tmp_path / "out").mkdir()
    with pytest.raises(Refusal, match="link to a file outside"):
        onnx_file.export(source, tmp_path / "out", 18)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_links_of_the_hubs_cache_are_followed(tmp_path: Path, secret: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    written(blobs / "a", a_model([ADD], [outside("w.bin")]))
    secret.rename(blobs / "b")
    snapshot.mkdir(parents=True)
    (snapshot / "m.onnx").symlink_to(blobs / "a")
    (snapshot / "w.bin").symlink_to(blobs / "b")
    bounds.check(snapshot / "m.onnx", onnx.load(snapshot / "m.onnx", load_external_data=False))


def test_a_compiled_model_outside_the_folder_is_refused(tmp_path: Path) -> None:
    context = {"domain": "com.microsoft", "embed_mode": 0, "ep_cache_context": "../evil.bin"}
    source = written(tmp_path / "model" / "m.onnx", a_model([helper.make_node("EPContext", ["x"], ["y"], **context)]))
    with pytest.raises(Refusal, match=r"outside its own folder: \.\./evil\.bin"):
        onnx_file.export(source, tmp_path, 18)


def a_function(default: Any) -> Any:
    """A model that calls a function, which has an attribute by default."""
    names = helper.make_node("Constant", [], ["w"])
    names.attribute.add(name="value", ref_attr_name="weight", type=onnx.AttributeProto.TENSOR)
    imports = [helper.make_opsetid("", 18)]
    function = helper.make_function("own", "f", ["x"], ["y"], [names, ADD], imports, attribute_protos=[default])
    model = a_model([helper.make_node("f", ["x"], ["y"], domain="own")])
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def a_body(tensor: Any) -> Any:
    outputs = [helper.make_tensor_value_info("z", Kind.FLOAT, None)]
    node = helper.make_node("Constant", [], ["z"], value=tensor)
    return helper.make_graph([node], "body", [], outputs)


def nested(location: str) -> dict[str, Any]:
    """The places of a tensor beside the initializers of the main graph."""
    tensor, sparse = outside(location), Kind()
    sparse.CopyFrom(tensor)
    body = a_body(tensor)
    of_sparse = helper.make_sparse_tensor(sparse, helper.make_tensor("i", Kind.INT64, [4], [0, 1, 2, 3]), [8])
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    branch = helper.make_node("If", ["c"], ["w"], then_branch=body, else_branch=body)
    inner = helper.make_graph([branch], "outer", [], [helper.make_tensor_value_info("w", Kind.FLOAT, None)])
    return {
        "attribute": a_model([constant, ADD]),
        "branch": a_model([branch, ADD]),
        "branch-of-a-branch": a_model(
            [helper.make_node("If", ["c"], ["w"], then_branch=inner, else_branch=inner), ADD]
        ),
        "sparse-attribute": a_model([helper.make_node("Constant", [], ["w"], sparse_value=of_sparse), ADD]),
        "default-of-a-function": a_function(helper.make_attribute("weight", tensor)),
        "graph-by-default-of-a-function": a_function(helper.make_attribute("weight", body)),
    }


def test_functions_that_stand_for_a_billion_nodes_are_refused_at_once(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    model = a_model([helper.make_node("f0", ["x"], ["y"], domain="own")])
    model.opset_import.append(imports[1])
    for number in range(31):
        called = f"f{number + 1}"
        nodes = [helper.make_node(called, [a], [b], domain="own") for a, b in (("a", "b"), ("b", "c"))]
        nodes = nodes if number < 30 else [helper.make_node("Relu", ["a"], ["c"])]
        model.functions.append(helper.make_function("own", f"f{number}", ["a"], ["c"], nodes, imports))
    source = written(tmp_path / "m.onnx", model)
    with pytest.raises(Refusal, match="stand for 1,073,741,824 nodes"):
        onnx_file.reference(source, [{"x": np.zeros(4, np.float32)}])
    # One that calls itself is left to ONNX Runtime.
    del model.functions[1:]
    model.functions[0].node[0].op_type = "f0"
    del model.functions[0].node[1]
    written(tmp_path / "m.onnx", model)
    with pytest.raises(Refusal, match="must not be recursive"):
        onnx_file.reference(source, [{"x": np.zeros(4, np.float32)}])


@pytest.mark.parametrize("place", nested("x"))
def test_no_place_of_a_tensor_leads_outside(tmp_path: Path, secret: Path, place: str) -> None:
    source = written(tmp_path / "model" / "m.onnx", nested(f"../{secret.name}")[place])
    for act in (
        lambda: onnx_file.reference(source, [{"x": np.zeros(4, np.float32)}]),
        lambda: onnx_file.export(source, tmp_path, 18),
        lambda: onnx_file.make_inputs(source, {"batch": 1}, None),
    ):
        with pytest.raises(Refusal, match="keeps data outside its own folder"):
            act()


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_data_in_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    source = written(tmp_path / "model" / "m.onnx", a_model([ADD], [outside("w.bin")]))
    place = tmp_path / "model" / "w.bin"
    os.mkfifo(place) if kind == "pipe" else place.mkdir()
    with pytest.raises(Refusal, match=r"keeps data in w\.bin, which is no file"):
        onnx_file.reference(source, [{"x": np.zeros(4, np.float32)}])


# --- claims -----------------------------------------------------------------------------------------------------------


def a_sparse_tensor() -> Any:
    values = helper.make_tensor("w", Kind.FLOAT, [1], [1.0])
    return helper.make_sparse_tensor(values, helper.make_tensor("i", Kind.INT64, [1], [5]), [TERABYTE])


def a_claim(held: int = 0, **entries: object) -> Any:
    tensor = Kind(name="w", data_type=Kind.FLOAT, dims=[TERABYTE], raw_data=b"\0" * held)
    if entries:
        tensor = outside(**entries)
        tensor.dims[:] = [TERABYTE]
    return tensor


SHAPE = helper.make_tensor("s", Kind.INT64, [1], [TERABYTE])
CLAIMS = {
    "no-data": a_model([ADD], [a_claim()]),
    "few-bytes": a_model([ADD], [a_claim(16)]),
    "external": a_model([ADD], [a_claim(location="w.bin")]),
    "external-with-length": a_model([ADD], [a_claim(location="w.bin", length=2**40)]),
    "external-before-the-start": a_model([ADD], [a_claim(location="w.bin", offset=-(2**50))]),
    "external-with-an-offset": a_model([ADD], [a_claim(location="w.bin", offset=2**50)]),
    "sparse": a_model([ADD], sparse=[a_sparse_tensor()]),
    "filled": a_model([helper.make_node("ConstantOfShape", ["s"], ["w"]), ADD], [SHAPE]),
    "expanded": a_model([helper.make_node("Expand", ["x", "s"], ["y"])], [SHAPE]),
    "input": a_model([helper.make_node("Relu", ["x"], ["y"])], size=TERABYTE),
}


@pytest.mark.parametrize("model", CLAIMS.values(), ids=CLAIMS)
def test_a_file_that_claims_a_terabyte_is_refused_before_memory_is_taken(tmp_path: Path, model: Any) -> None:
    source = written(tmp_path / "m.onnx", model)
    (tmp_path / "w.bin").write_bytes(b"\0" * 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for act in (
        lambda: onnx_file.reference(source, [{"x": np.zeros(1, np.float32)}]),
        lambda: onnx_file.export(source, tmp_path, 18),
        lambda: onnx_file.make_inputs(source, {"batch": 1}, None),
    ):
        with pytest.raises(Refusal, match=r"claims 1\.0 TiB"):
            act()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "in KiB"


def test_weights_in_a_file_with_holes_take_no_more_memory_than_there_is(tmp_path: Path) -> None:
    source = written(tmp_path / "m.onnx", a_model([ADD], [a_claim(location="w.bin")]))
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(Refusal, match=r"the tensor 'w' of m\.onnx claims 1\.0 TiB: this machine has"):
        onnx_file.export(source, tmp_path, 18)


@pytest.mark.parametrize(
    "tensor",
    [
        onnx.numpy_helper.from_array(np.ones((600, 600), np.float32), "w"),
        helper.make_tensor("w", Kind.FLOAT, [600, 600], [1.0] * 360_000),
        helper.make_tensor("w", Kind.FLOAT16, [1200, 600], [1.0] * 720_000),
        helper.make_tensor("w", Kind.INT4, [2400, 1200], [1] * 2_880_000),
        helper.make_tensor("w", Kind.STRING, [2], [b"a", b"b"]),
    ],
    ids=["raw", "typed", "fp16", "int4", "texts"],
)
def test_a_tensor_that_holds_what_it_claims_is_accepted(tmp_path: Path, tensor: Any) -> None:
    written(tmp_path / "m.onnx", a_model([ADD], [tensor]))
    assert _onnx_graph.read(tmp_path / "m.onnx").graph.initializer[0].name == "w"


# --- code -------------------------------------------------------------------------------------------------------------


def test_code_in_the_folder_of_a_model_is_never_run(tmp_path: Path) -> None:
    """A folder whose config, tokenizer and modules all name code of their own."""
    folder, ran = tmp_path / "model", tmp_path / "ran"
    lively(transformers.BertModel(transformers.BertConfig(**BERT))).save_pretrained(folder)
    add_tokenizer(folder)
    code = f"open({str(ran)!r}, 'w').close()\nclass Evil: pass\nEvilConfig = EvilModel = EvilTokenizer = Evil\n"
    for name in ("evil.py", "modeling_evil.py", "conftest.py", "sitecustomize.py"):
        (folder / name).write_text(code, encoding="utf-8")
    names = {
        "AutoConfig": "evil.EvilConfig",
        "AutoModel": "evil.EvilModel",
        "AutoTokenizer": ["evil.Evil", None],
    }
    for name in ("config.json", "tokenizer_config.json"):
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(content | {"auto_map": names}), encoding="utf-8")
    source = Source("folder", str(folder), "pretrained", "0" * 64)
    before = os.getcwd()  # noqa: PTH109 - the folder in which a module of this name would be found
    os.chdir(folder)
    try:
        assert hugging_face.config(source).model_type == "bert"
        assert type(hugging_face.load(source, transformers.AutoModel)).__name__ == "BertModel"
        assert hugging_face.tokenizer(source) is not None
    finally:
        os.chdir(before)
    assert not ran.exists()


def test_weights_in_a_pickle_are_not_loaded_where_they_are_all_that_there_is(tmp_path: Path) -> None:
    import torch

    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return (open, (str(ran), "w"))

    folder = tmp_path / "model"
    lively(transformers.BertModel(transformers.BertConfig(**BERT))).save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"evil": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        hugging_face.load(Source("folder", str(folder), "pretrained", "0" * 64), transformers.AutoModel)
    assert not ran.exists()
