"""The user's own inputs: arrays, lines, pictures, sounds and texts, checked against the graph."""

from __future__ import annotations

import io
import json
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_files import FLOAT, INT64, UINT8, a_detector, a_file, first, kinds, onnx

from bench.records import InputOptions, Source, note
from bench.worker.families import _input_files, _speech, onnx_file, text_encoder, text_generator
from bench.worker.refusal import Refusal

# --- the user's own data ----------------------------------------------------------------------------------------------


def two_inputs(path: Path, options: InputOptions | None = None) -> Source:
    return a_file(path, {"x": (FLOAT, ["batch", 4]), "ids": (INT64, ["batch", "seq"])}, options=options)


def data(samples: int = 12, **changes: Any) -> dict[str, Any]:
    x = np.arange(4 * samples, dtype=np.float32).reshape(samples, 4)
    return {"x": x, "ids": np.arange(3 * samples).reshape(samples, 3)} | changes


def saved(folder: Path, name: str = "data.npz", **arrays: Any) -> Path:
    np.savez(folder / name, **arrays)
    return folder / name


def test_arrays_by_input_are_fed_in_batches_and_the_last_third_calibrates(tmp_path):
    source, path = two_inputs(tmp_path / "m.onnx"), saved(tmp_path, **data())
    batches = onnx_file.make_inputs(source, {"batch": 3}, str(path))
    assert [batch["x"].shape for batch in batches] == [(3, 4)] * 3
    assert np.array_equal(np.concatenate([batch["ids"] for batch in batches])[:8], data()["ids"][:8])
    held = onnx_file.calibration(source, str(path))
    assert [int(feed["ids"][0, 0]) for feed in held] == [24, 27, 30, 33]
    assert onnx_file.describe_inputs(source, {"batch": 3}, str(path)) == (
        note("counted-samples", samples=3, axis="batch"),
    )


def test_noise_for_calibration_has_the_sizes_of_the_workloads_and_one_sample(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["batch", "steps", 4])})
    held = onnx_file.calibration(source, None, ({"batch": 8, "steps": 5}, {"batch": 1, "steps": 7}, {"steps": 5}))
    assert [feed["x"].shape for feed in held[:3]] == [(1, 5, 4), (1, 7, 4), (1, 5, 4)]
    assert len({feed["x"].tobytes() for feed in held}) == len(held) >= 16
    assert {feed["x"].shape for feed in onnx_file.calibration(source, None)} == {(1, 16, 4)}
    named = a_file(tmp_path / "n.onnx", {"x": (FLOAT, ["n", "steps"])})
    assert {feed["x"].shape for feed in onnx_file.calibration(named, None, ({"n": 8, "steps": 5},))} == {(1, 5)}


def test_whole_batches_are_fed_as_they_are(tmp_path):
    source = two_inputs(tmp_path / "m.onnx")
    arrays = {f"{number}/{name}": array[:5] for number in range(2) for name, array in data().items()}
    path = saved(tmp_path, **arrays)
    assert [len(batch["x"]) for batch in onnx_file.make_inputs(source, {"batch": 5}, str(path))] == [5, 5]
    with pytest.raises(Refusal, match="hold 5 samples, and the workload has batch = 1"):
        first(source, {"batch": 1}, path)


def test_samples_along_another_axis_are_moved_there(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["time", "batch", 2]), "h": (FLOAT, [1, "batch", 2])})
    x = np.arange(6 * 5 * 2, dtype=np.float32).reshape(6, 5, 2)
    h = np.arange(12, dtype=np.float32).reshape(6, 1, 1, 2)
    feed = first(source, {"batch": 2}, saved(tmp_path, x=x, h=h))
    assert np.array_equal(feed["x"], x[:2].transpose(1, 0, 2))
    assert np.array_equal(feed["h"], h[:2, :, 0].transpose(1, 0, 2))


def test_an_array_of_the_only_input_and_json_lines(tmp_path):
    single = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["batch", 4])})
    np.save(tmp_path / "x.npy", data()["x"])
    assert np.array_equal(first(single, {"batch": 2}, tmp_path / "x.npy")["x"], data()["x"][:2])
    lines = [json.dumps({"x": [float(i)] * 4, "ids": [i, i, i]}) for i in range(6)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines), encoding="utf-8")
    feed = first(two_inputs(tmp_path / "n.onnx"), {"batch": 2}, tmp_path / "d.jsonl")
    assert (feed["x"].dtype, feed["ids"].tolist()) == (np.float32, [[0, 0, 0], [1, 1, 1]])


def test_the_sizes_of_the_data_hold_for_the_inputs_that_stay_noise(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"ids": (INT64, ["batch", "seq"]), "extra": (FLOAT, ["batch", "seq"])})
    path = saved(tmp_path, ids=data()["ids"])
    assert first(source, {"batch": 2}, path)["extra"].shape == (2, 3)
    assert kinds(source, {"batch": 2}, path)["noise-for"] == {"inputs": ("extra",)}
    with pytest.raises(Refusal, match="has seq = 3, and the workload has seq = 8"):
        first(source, {"batch": 2, "seq": 8}, path)


NAN = np.where(np.arange(48).reshape(12, 4) == 13, np.nan, 1.0).astype(np.float32)


@pytest.mark.parametrize(
    ("changes", "message", "remedy"),
    [
        ({"y": np.ones((12, 4))}, "data.npz holds 'y', and no input has this name", "there are: ids, x"),
        (
            {"x": np.ones((12, 5), np.float32)},
            "'x' in data.npz has 5 values in dimension 1",
            "size that the file fixes",
        ),
        ({"x": np.ones((12, 2, 2, 2), np.float32)}, r"'x' in data.npz has the shape \[12, 2, 2, 2\]", "dimensions"),
        ({"x": np.ones((12, 4))}, "'x' in data.npz is of type float64, and the input takes FLOAT", 'type = "float32"'),
        ({"ids": np.ones((12, 3), np.float32)}, "'ids' in data.npz is of type float32", "int64"),
        ({"x": NAN}, r"'x' in data.npz holds a NaN, at \[3, 1\]", "replace it"),
        ({"x": data(11)["x"]}, "have different numbers of samples: x 11, ids 12", "as many"),
        ({"x": np.array([None] * 12)}, "the array 'x' of data.npz is pickled", "float32"),
        ({"x": data(0)["x"], "ids": data(0)["ids"]}, "holds no sample", "at least one"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_its_place_and_a_remedy(tmp_path, changes, message, remedy):
    path = saved(tmp_path, **data(**changes))
    with pytest.raises(Refusal, match=message) as refused:
        first(two_inputs(tmp_path / "m.onnx"), {"batch": 1}, path)
    assert remedy in refused.value.remedy
    assert refused.value.status == "unsupported"


def test_an_archive_that_unpacks_outside_its_folder_is_refused(tmp_path):
    path = saved(tmp_path, **data())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../evil.npy", b"x")
    with pytest.raises(Refusal, match=r"'../../evil.npy', which points outside its folder"):
        first(two_inputs(tmp_path / "m.onnx"), {"batch": 1}, path)


def a_header(shape: tuple[int, ...]) -> bytes:
    """A file of NumPy with this shape, and without its numbers."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("x.npy", b"raw bytes", "the array 'x' of data.npz is no array in NumPy's format"),
        ("notes.txt", b"raw bytes", r"the array 'notes\.txt' of data\.npz is no array in NumPy's format"),
        ("x.npy", a_header((2**38,)), r"the array 'x' of data\.npz says that it is float32 of shape \[274877906944\]"),
    ],
)
def test_a_member_that_is_no_array_is_refused_before_memory_is_taken(tmp_path, member, content, message):
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr(member, content)
    with pytest.raises(Refusal, match=message):
        first(two_inputs(tmp_path / "m.onnx"), {"batch": 1}, tmp_path / "data.npz")


def test_an_encrypted_member_is_named(tmp_path):
    path = saved(tmp_path, x=np.ones((4, 4), np.float32))
    content = bytearray(path.read_bytes())
    # The flags of the member, in front of it and in the list at the end.
    content[6] |= 1
    content[content.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"the array 'x' of data\.npz is encrypted"):
        first(two_inputs(tmp_path / "m.onnx"), {"batch": 1}, path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.npz", b"PK\x03\x04 torn", "is no .npz file that can be read"),
        ("data.npy", b"\x80\x04N.", "data.npy is pickled"),
        ("data.npy", b"\x93NUMPY", "is no .npy file that can be read"),
        ("data.npy", b"hello", "data.npy is no array in NumPy's format"),
        ("data.npy", b"PK\x03\x04", "data.npy is no array in NumPy's format"),
        (
            "data.npy",
            a_header((2**40, 4)),
            r"says that it is float32 of shape \[1099511627776, 4\], and it has 128 bytes",
        ),
        ("data.npy", a_header((-1, 4)), r"says that it is float32 of shape \[-1, 4\]"),
        ("data.jsonl", b"[" * 100_000, "line 1 of data.jsonl is JSON of too many levels"),
        ("data.jsonl", b"{]", "line 1 of data.jsonl is no JSON"),
        ("data.jsonl", b"[1]", "line 1 of data.jsonl is no JSON object"),
        ("data.jsonl", b'{"x": [1], "ids": [1]}\n{"x": [1]}', "line 2 of data.jsonl has other keys"),
        ("data.jsonl", b'{"x": [1, [2]], "ids": [1]}', "its rows have several lengths"),
        ("data.jsonl", b'{"x": [1,2,3,4], "ids": [0.5]}', "'ids' holds fractions"),
        ("data.jsonl", b'{"x": [1,2,3,NaN], "ids": [1]}', "holds a NaN"),
        ("data.csv", b"1,2", "is no kind of input data"),
        ("data.jsonl", b"", "is empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal, match=message):
        first(two_inputs(tmp_path / "m.onnx"), {"batch": 1}, tmp_path / name)


# --- folders ----------------------------------------------------------------------------------------------------------


def pictures(folder: Path, count: int = 6) -> Path:
    from PIL import Image

    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (8, 6), (255, 51 * number, 0)).save(folder / f"{number}.png")
    return folder


def test_pictures_are_prepared_as_the_matrix_says(tmp_path):
    folder = pictures(tmp_path / "photos")
    options = InputOptions(size=(10, 12), mean=(0.5,), std=(0.5,))
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["batch", 3, "height", "width"])}, options=options)
    x = first(source, {"batch": 2}, folder)["x"]
    assert x.shape == (2, 3, 10, 12)
    assert x[:, :, 0, 0] == pytest.approx(np.array([[1, -1, -1], [1, -0.6, -1]]), abs=1e-6)
    assert "assumed-sizes" not in kinds(source, {"batch": 2}, folder)


def test_the_file_decides_layout_type_and_size_of_pictures(tmp_path):
    folder = pictures(tmp_path / "photos")
    x = first(a_file(tmp_path / "m.onnx", {"x": (UINT8, ["batch", 4, 5, 3])}), {"batch": 2}, folder)["x"]
    assert (x.shape, x.dtype) == ((2, 4, 5, 3), np.uint8)
    assert x[1, 0, 0].tolist() == [255, 51, 0]
    source = a_file(tmp_path / "m.onnx", {"x": (UINT8, ["batch", 4, 5, 3])}, options=InputOptions(size=(10, 5)))
    with pytest.raises(Refusal, match=r"inputs\.size asks for 10, and the file fixes a side of 'x' to 4"):
        first(source, {"batch": 2}, folder)


def test_pictures_of_16_bits_a_channel_are_scaled_to_8(tmp_path):
    from PIL import Image

    folder = tmp_path / "deep"
    folder.mkdir()
    for number, value in enumerate((0, 3000, 60000, 65535, 1, 1)):
        Image.fromarray(np.full((8, 8), value, np.uint16)).save(folder / f"{number}.png")
    grey = a_file(tmp_path / "m.onnx", {"x": (UINT8, ["batch", 8, 8, 1])})
    # Value / 257: 65535 is 255. The last third is for calibration.
    assert first(grey, {"batch": 4}, folder)["x"][:, 0, 0, 0].tolist() == [0, 12, 233, 255]
    colour = a_file(tmp_path / "n.onnx", {"x": (UINT8, ["batch", 8, 8, 3])})
    assert first(colour, {"batch": 4}, folder)["x"][2, 0, 0].tolist() == [233, 233, 233]


def test_a_picture_that_is_none_is_named(tmp_path):
    folder = pictures(tmp_path / "photos")
    (folder / "3.png").write_bytes(b"no picture")
    with pytest.raises(Refusal, match=r"3\.png is no picture that can be read"):
        first(a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["batch", 3, 8, 8])}), {"batch": 1}, folder)


def a_sound(path: Path, samples: Any, rate: int = 16000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2").tobytes())
    return path


def test_sounds_are_cut_into_windows(tmp_path):
    (tmp_path / "sounds").mkdir()
    a_sound(tmp_path / "sounds" / "a.wav", np.arange(1300) * 16)
    options = InputOptions(values={"sr": 16000, "state": 0}, rate=16000)
    source = a_detector(tmp_path / "m.onnx", options)
    batches = onnx_file.make_inputs(source, {"batch": 1, "samples": 512}, str(tmp_path / "sounds"))
    assert [batch["input"].shape for batch in batches] == [(1, 512)] * 2
    assert batches[1]["input"][0, 0] == pytest.approx(512 * 16 / 32768)
    assert kinds(source, {"batch": 1, "samples": 512}, tmp_path / "sounds").keys() == {"counted-samples"}
    a_sound(tmp_path / "sounds" / "b.wav", np.arange(600), rate=8000)
    with pytest.raises(Refusal, match=r"b\.wav has 8000 samples a second, and inputs\.rate is 16000"):
        first(source, {"batch": 1, "samples": 512}, tmp_path / "sounds")


def test_texts_become_tokens_for_the_inputs_that_the_graph_has(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = {"[PAD]": 0, "[UNK]": 1, "red": 2, "blue": 3}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=model, pad_token="[PAD]", unk_token="[UNK]")
    wrapped.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "texts.txt").write_text("red blue red\nblue\n\nred green red blue red red\n", encoding="utf-8-sig")
    inputs: dict[str, Any] = {name: (INT64, ["batch", "seq"]) for name in ("input_ids", "attention_mask")}
    options = InputOptions(tokenizer=str(tmp_path / "tokenizer"), length=4)
    feed = first(a_file(tmp_path / "m.onnx", inputs, options=options), {"batch": 2}, tmp_path / "texts.txt")
    assert feed["input_ids"].tolist() == [[2, 3, 2, 0], [3, 0, 0, 0]]
    assert feed["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    with pytest.raises(Refusal, match=r"texts\.txt holds texts, and no tokenizer is given"):
        first(a_file(tmp_path / "m.onnx", inputs), {"batch": 2}, tmp_path / "texts.txt")


def test_texts_for_an_input_of_strings_are_fed_as_they_are(tmp_path):
    (tmp_path / "t.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    source = a_file(tmp_path / "m.onnx", {"text": (onnx.TensorProto.STRING, ["batch", 1])})
    assert first(source, {"batch": 2}, tmp_path / "t.txt")["text"].tolist() == [["one"], ["two"]]


# --- other families ---------------------------------------------------------------------------------------------------


def test_texts_are_lines_of_a_file_keys_of_json_lines_or_the_files_of_a_folder(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n", encoding="utf-8-sig")
    (tmp_path / "b.jsonl").write_text('{"text": "three"}\n{"text": "four"}\n', encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.txt").write_text("five\nsix\n", encoding="utf-8")
    assert _input_files.texts(tmp_path / "a.txt") == ["one", "two"]
    assert _input_files.texts(tmp_path / "b.jsonl") == ["three", "four"]
    assert _input_files.texts(tmp_path / "folder") == ["five\nsix"]
    (tmp_path / "b.jsonl").write_text('{"sentence": "three"}\n', encoding="utf-8")
    with pytest.raises(Refusal, match=r'line 1 of b\.jsonl has no "text"'):
        _input_files.texts(tmp_path / "b.jsonl")


def test_too_few_texts_are_refused_by_the_families_that_take_texts(tmp_path):
    (tmp_path / "a.txt").write_text("one\n", encoding="utf-8")
    for family in (text_encoder, text_generator):
        with pytest.raises(Refusal, match=r"a\.txt holds 1 texts") as refused:
            family._sentences(str(tmp_path / "a.txt"))
        assert refused.value.status == "unsupported"


def test_prepared_pictures_of_a_classifier_come_from_an_array(tmp_path):
    pixels = np.arange(9 * 3 * 4 * 4, dtype=np.float32).reshape(9, 3, 4, 4)
    path = saved(tmp_path, pixel_values=pixels)
    checked = _input_files.rows(path, "pixel_values", 8, checked=True, channels=3)
    assert np.array_equal(checked, pixels[[0, 1, 2, 3, 4, 5, 0, 1]])
    held = _input_files.rows(path, "pixel_values", 3, checked=False, channels=3)
    assert np.array_equal(held, pixels[6:])
    for broken, message in (
        ({"x": pixels}, "holds x, and the model takes 'pixel_values'"),
        ({"pixel_values": pixels.astype(np.float64)}, "holds float64 of shape"),
        ({"pixel_values": np.full_like(pixels, np.nan)}, "holds a NaN in 'pixel_values', in sample 0"),
    ):
        with pytest.raises(Refusal, match=message):
            _input_files.rows(saved(tmp_path, **broken), "pixel_values", 3, checked=True, channels=3)


def test_a_single_recording_is_enough_for_speech(tmp_path):
    assert len(_speech.clips(a_sound(tmp_path / "a.wav", np.arange(1600)))) == 1
