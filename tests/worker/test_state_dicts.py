"""State dicts in pickles: an EfficientNet-Lite is found by its tensors, and nothing else is read from a pickle."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.records import Source, note  # noqa: E402
from bench.worker import state_dicts  # noqa: E402
from bench.worker.families import image_classifier  # noqa: E402
from bench.worker.pytorch import efficientnet_lite  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402

# Kernel, stride, channels before, inside and after: seven stages, one of two blocks.
BLOCKS = [
    *([3, 1, 8, 8, 4], [3, 2, 4, 24, 6], [3, 1, 6, 36, 6], [5, 2, 6, 36, 8], [3, 2, 8, 48, 10]),
    *([5, 1, 10, 60, 12], [5, 2, 12, 72, 14], [3, 1, 14, 84, 16]),
]


def a_network(seed: int = 0) -> Any:
    """A small network with statistics that are not those of a fresh one."""
    torch.manual_seed(seed)
    config = efficientnet_lite.EfficientNetLiteConfig(blocks=BLOCKS, head=20, stem=8, num_labels=5)
    model = efficientnet_lite.EfficientNetLiteForImageClassification(config).eval()
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    for weight in model.parameters():
        if weight.ndim > 1:
            # Large enough that the logits depend on the pictures.
            torch.nn.init.kaiming_normal_(weight)
    return model


def a_file(folder: Path, content: Any) -> Source:
    torch.save(content, folder / "net.pth")
    return Source(kind="file", path=str(folder / "net.pth"), weights="pretrained", digest="")


def unpacked(folder: Path, source: Source) -> tuple[Source, Any]:
    out = folder / "folder"
    out.mkdir()
    notes = image_classifier.unpack(source, out)
    return Source(kind="folder", path=str(out), weights="pretrained", digest=""), notes


def test_the_folder_computes_what_the_network_computed_that_the_weights_are_of(tmp_path):
    network = a_network()
    source, notes = unpacked(tmp_path, a_file(tmp_path, network.state_dict()))
    assert notes == (note("from-state-dict", file="net.pth", model="EfficientNet-Lite"),)
    (feed, *_) = image_classifier.make_inputs(source, {"batch": 2}, None)
    (answer, *_), _ = image_classifier.reference(source, [feed])
    with torch.inference_mode():
        want = network(torch.from_numpy(feed["pixel_values"])).logits.numpy()
    np.testing.assert_array_equal(answer["logits"], want)
    assert want.std() > 1e-3


def test_the_blocks_are_found_from_the_weights():
    shapes = {name: tuple(tensor.shape) for name, tensor in a_network().state_dict().items()}
    assert efficientnet_lite.blocks_of(shapes) == [list(block) for block in BLOCKS]


def test_padding_is_tensorflows():
    """224 by a kernel of 5 and a stride of 2: one row before, two after."""
    layer = efficientnet_lite.Convolution(1, 1, 5, 2, bias=False)
    layer.weight.data.zero_()
    layer.weight.data[0, 0, 0, 0] = 1.0
    picture = torch.arange(224.0 * 224).reshape(1, 1, 224, 224)
    with torch.inference_mode():
        out = layer(picture)[0, 0]
    assert out.shape == (112, 112)
    # The corner of the kernel reads the padding first, and then the second row and column.
    assert (float(out[0, 0]), float(out[1, 1])) == (0.0, 225.0)


def test_a_pickle_with_code_is_refused_and_its_code_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "net.pth").write_bytes(pickle.dumps({"w": Harmful()}))
    source = Source(kind="file", path=str(tmp_path / "net.pth"), weights="pretrained", digest="")
    with pytest.raises(Refusal, match="no file of tensors alone") as refused:
        unpacked(tmp_path, source)
    assert refused.value.status == "unsupported"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors: {"a": torch.zeros(2), "b": torch.zeros(3)}, "holds 2 tensors of a network whose"),
        (lambda tensors: {"state_dict": {"a": torch.zeros(2)}}, "holds one tensor of a network whose"),
        (lambda tensors: {"state_dict": 7}, "holds no state dict"),
        (lambda tensors: {}, "holds an empty state dict"),
        (lambda tensors: {7: torch.zeros(2)}, "names a tensor 7, which is no text"),
        (lambda tensors: tensors | {"more.weight": torch.zeros(2)}, r"more\.weight is none of its tensors"),
        (lambda tensors: tensors | {"_fc.bias": torch.zeros(6)}, r"_fc\.bias has the shape \[6\], and not \[5\]"),
        (lambda tensors: tensors | {"_fc.bias": torch.tensor(0.0)}, r"_fc\.bias has the shape \[\], and not \[5\]"),
        (
            lambda tensors: tensors | {"_conv_stem.weight": torch.zeros(8, 1, 3, 3)},
            r"_conv_stem\.weight has the shape \[8, 1, 3, 3\], and not \[8, 3, 3, 3\]",
        ),
        (lambda tensors: tensors | {"_fc.bias": torch.zeros(5).to_sparse()}, r"holds _fc\.bias as a sparse tensor"),
        (lambda tensors: tensors | {"_fc.bias": torch.zeros(5, device="meta")}, "a tensor without data"),
        (lambda tensors: tensors | {"_fc.bias": torch.zeros(5, dtype=torch.complex64)}, r"_fc\.bias as complex64"),
        (lambda tensors: tensors | {"_fc.weight": torch.zeros(1).expand(10**9, 20)}, "a view that repeats its numbers"),
        (
            lambda tensors: {name: value for name, value in tensors.items() if name != "_fc.bias"},
            r"is no EfficientNet-Lite: _fc\.bias is missing",
        ),
    ],
)
def test_other_state_dicts_are_refused_by_what_they_hold(tmp_path, change, says):
    with pytest.raises(Refusal, match=says) as refused:
        unpacked(tmp_path, a_file(tmp_path, change(dict(a_network().state_dict()))))
    assert refused.value.remedy == state_dicts.REMEDY


def test_a_state_dict_inside_a_checkpoint_of_training_is_read(tmp_path):
    network = a_network()
    content = {"epoch": 3, "state_dict": network.state_dict(), "optimizer": {}}
    source, _ = unpacked(tmp_path, a_file(tmp_path, content))
    (feed, *_) = image_classifier.make_inputs(source, {"batch": 1}, None)
    (answer, *_), _ = image_classifier.reference(source, [feed])
    with torch.inference_mode():
        want = network(torch.from_numpy(feed["pixel_values"])).logits.numpy()
    np.testing.assert_array_equal(answer["logits"], want)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"hello, this is a text\n", "is no file that torch.save writes"),
        (b"PK\x03\x04 and no archive", "is damaged, or holds other things than tensors"),
        # A number, a place of the stack that is empty, and an opcode that there is not.
        (b"\x80\x02K\x01.", "is damaged, or|no file of tensors alone"),
        (b"\x80\x02h\x07.", "is damaged, or|no file of tensors alone"),
        (b"\x80\x02\xff\xff.", "is damaged, or|no file of tensors alone"),
    ],
)
def test_files_that_hold_no_tensors_are_refused_in_a_sentence(tmp_path, content, says):
    (tmp_path / "net.pth").write_bytes(content)
    source = Source(kind="file", path=str(tmp_path / "net.pth"), weights="pretrained", digest="")
    with pytest.raises(Refusal, match=says) as refused:
        unpacked(tmp_path, source)
    assert (refused.value.status, refused.value.kind) == ("unsupported", "pickle")
