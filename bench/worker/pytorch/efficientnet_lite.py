"""EfficientNet-Lite as a model of transformers, which has none: for state dicts, which hold weights and no graph.

The architecture is that of TensorFlow: inverted residuals with ReLU6 and without squeeze-and-excite,
and padding as TensorFlow's `SAME`. The names of the weights are those of the PyTorch ports of EfficientNet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForImageClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

MODEL_TYPE = "efficientnet_lite"
STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Of the first block of each stage; the weights do not show them. Lite0 to Lite4 have the same."""
EPSILON = 1e-3
Shapes = Mapping[str, tuple[int, ...]]


class EfficientNetLiteConfig(PretrainedConfig):  # type: ignore[misc]
    """The sizes of the blocks: kernel, stride, channels before, inside and after each."""

    model_type = MODEL_TYPE

    def __init__(
        self,
        blocks: list[list[int]] | None = None,
        head: int = 1280,
        stem: int = 32,
        image_size: int = 224,
        **more: Any,
    ) -> None:
        self.blocks, self.head, self.stem, self.image_size = blocks or [], head, stem, image_size
        self.num_channels = 3
        super().__init__(**more)


def blocks_of(shapes: Shapes) -> list[list[int]]:
    """The blocks that the weights have, by the shapes of a state dict. KeyError and ValueError for another network."""
    count = 1 + max(int(match[1]) for name in shapes if (match := re.match(r"_blocks\.(\d+)\.", name)))
    blocks: list[list[int]] = []
    stage = -1
    for index in range(count):
        inner, _, _, kernel = shapes[f"_blocks.{index}._depthwise_conv.weight"]
        after = shapes[f"_blocks.{index}._project_conv.weight"][0]
        before = (
            shapes[f"_blocks.{index}._expand_conv.weight"][1]
            if f"_blocks.{index}._expand_conv.weight" in shapes
            else inner
        )
        starts = not blocks or after != blocks[-1][-1]
        stage += starts
        blocks.append([kernel, STRIDES[stage] if starts else 1, before, inner, after])
    if stage + 1 != len(STRIDES):
        raise ValueError(f"{stage + 1} stages, and EfficientNet-Lite has {len(STRIDES)}")
    return blocks


class Convolution(nn.Conv2d):  # type: ignore[misc]
    """A convolution with TensorFlow's padding: as little as possible, and the odd row at the end."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name in the base class
        """The convolved input, with the size divided by the stride and rounded up."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        height, width = (
            max((-(-int(size) // stride) - 1) * stride + kernel - int(size), 0) for size in input.shape[-2:]
        )
        padded = functional.pad(input, (width // 2, width - width // 2, height // 2, height - height // 2))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Block(nn.Module):  # type: ignore[misc]
    """An inverted residual."""

    def __init__(self, kernel: int, stride: int, before: int, inner: int, after: int) -> None:
        super().__init__()
        self.expands, self.skips = before != inner, stride == 1 and before == after
        if self.expands:
            self._expand_conv = Convolution(before, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, EPSILON)
        self._depthwise_conv = Convolution(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, EPSILON)
        self._project_conv = Convolution(inner, after, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(after, EPSILON)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """(batch, before, height, width) to (batch, after, height / stride, width / stride)."""
        x = functional.relu6(self._bn0(self._expand_conv(given))) if self.expands else given
        x = functional.relu6(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + given if self.skips else x


class EfficientNetLiteForImageClassification(PreTrainedModel):  # type: ignore[misc]
    """EfficientNet-Lite, from pixels (batch, 3, height, width) to one logit a class."""

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self._conv_stem = Convolution(3, config.stem, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(config.stem, EPSILON)
        self._blocks = nn.ModuleList(Block(*sizes) for sizes in config.blocks)
        self._conv_head = Convolution(config.blocks[-1][-1], config.head, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(config.head, EPSILON)
        self._fc = nn.Linear(config.head, config.num_labels)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> ImageClassifierOutput:
        """The logits (batch, classes)."""
        x = functional.relu6(self._bn0(self._conv_stem(pixel_values)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        return ImageClassifierOutput(logits=self._fc(x.mean((2, 3))))


def register() -> None:
    """Make the model known to transformers."""
    AutoConfig.register(MODEL_TYPE, EfficientNetLiteConfig, exist_ok=True)
    AutoModelForImageClassification.register(
        EfficientNetLiteConfig, EfficientNetLiteForImageClassification, exist_ok=True
    )
