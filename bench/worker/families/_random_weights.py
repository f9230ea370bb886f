"""Gives a freshly initialised network random weights that behave like those of a trained network."""

from __future__ import annotations

import math
import re
from zlib import crc32

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

SPREAD = 0.02
"""The standard deviation that transformers initialises most weights with."""
LOGITS = 2.5
"""The standard deviation of the logits of a random language model over its vocabulary."""
QUERY_NORMS = {"q_norm": 1.5, "k_norm": 1.5}
GAINS = {
    # Attention scores get a deviation of 1.5², so that a few of some hundred positions are attended to.
    "q_proj": 1.5,
    "k_proj": 1.5,
    "qkv_proj": 1.5,
    # The inputs of layers that add to the residual stream have a deviation near 0.6. Attention adds more than the
    # layers after it: only attention uses the other tokens, while both increase an error of quantization.
    "o_proj": 1 / 0.6,
    "out_proj": 1 / 0.6,
    "down_proj": 0.5 / 0.6,
    "fc2": 0.5 / 0.6,
    "dense": 0.5 / 0.6,
    # A few of the 1500 frames of audio must dominate, or any two recordings give the same tokens.
    "encoder_attn.q_proj": 2.3,
    "encoder_attn.k_proj": 2.3,
    "encoder_attn.out_proj": 1.5 / 0.6,
    # Log-mel features differ by 0.6 at most, and by less between neighbours.
    "conv1": 3.5,
    "conv2": 3.5,
}
BRANCHES = ("o_proj", "out_proj", "down_proj", "fc2", "dense")
"""Layers whose output is added to the residual stream; together they add as much variance as the embedding has."""
CENTRED = ("conv1", "conv2", "fc2")
"""Layers whose weights have a mean of zero, which removes a constant: the loudness, or the mean that GELU leaves."""
HEADS = ("lm_head", "proj_out")
SINES = "encoder.embed_positions.weight"
"""Whisper's table of sines, which is fixed."""
SAMPLE = 16
"""The number of tokens that the deviations inside a model are measured with."""


def randomise(model: nn.Module, seed: int) -> nn.Module:
    """Add noise to constant parameters, in place: exporters drop operations with zero biases and unit norms."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            constant = bool((parameter == parameter.flatten()[0]).all())
            if parameter.ndim == 1 or constant:
                parameter.add_(SPREAD * torch.randn(parameter.shape, generator=generator))
        for module in model.modules():
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                row = module.weight[module.padding_idx]
                row.add_(SPREAD * torch.randn(row.shape, generator=generator))
    return model


def fill_language_model(model: nn.Module, seed: int) -> nn.Module:
    """Fill a generating model so that its tokens depend on all of its input, as in a trained model.

    With transformers' own initialisation attention is uniform and the logits are flat: a prompt shifted by one token or
    a broken rotary embedding would pass any check that accepts INT4. Here the residual stream has a deviation near 1,
    and the logits have one of `LOGITS`. Each tensor has its own seed, by its name in a saved checkpoint, and comes from
    NumPy, so that neither the order of modules nor the version of a library changes a byte. Returns the model, or
    another one of its class with the weights.
    """
    saved, layers = _as_saved(model), model.config.num_hidden_layers
    # Gemma and others add 1 to the weights of their norms, which start at 0 there.
    offsets = {name: 1.0 for name, weight in saved.items() if _is_norm(name, weight) and not weight.any()}
    with torch.no_grad():
        for name, tensor in saved.items():
            if not name.endswith(SINES):
                tensor.copy_(_weight_values(name, tensor.shape, seed, layers) - offsets.get(name, 0.0))
        last = _last_norm(saved)
        if last:
            # Its signs are random: otherwise a head that shares the embedding's table would repeat each token. Such a
            # model may still alternate between two tokens for a while.
            weight = saved[last]
            signs = np.random.Generator(np.random.PCG64(seed)).choice(np.array([-1, 1], np.float32), weight.shape)
            _scale(weight, torch.from_numpy(signs) * (LOGITS / math.sqrt(weight.numel())), offsets.get(last, 0.0))
        filled = _with(model, saved)
        return filled if model.config.is_encoder_decoder else _rescale(filled, last, offsets.get(last, 0.0))


def _as_saved(model: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters by their names in a saved checkpoint: those of the model itself where the names are the same.

    transformers 5 keeps the experts of a layer in one tensor, version 4 in one for each, as checkpoints do.
    """
    # A head that shares the embedding's table has both names.
    own = dict(model.named_parameters(remove_duplicate=False))
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:
        return own
    saved = revert_weight_conversion(model, dict(own))
    if set(saved) == set(own):
        return own
    copies = {tensor.data_ptr(): tensor.clone() for tensor in saved.values()}
    return {name: copies[tensor.data_ptr()] for name, tensor in saved.items()}


def _with(model: nn.Module, saved: dict[str, torch.Tensor]) -> nn.Module:
    """The model with these weights; they may be its own tensors."""
    own = dict(model.named_parameters(remove_duplicate=False))
    if set(saved) == set(own):
        return model
    buffers = {name: buffer for name, buffer in model.state_dict().items() if name not in own}
    loaded: nn.Module = type(model).from_pretrained(None, config=model.config, state_dict={**buffers, **saved})
    return loaded.float().eval()


def _is_norm(name: str, tensor: torch.Tensor) -> bool:
    return tensor.ndim == 1 and name.endswith(".weight")


def _last_norm(saved: dict[str, torch.Tensor]) -> str:
    """The norm before the head: the last one that is in none of the numbered layers; empty if it has no weights."""
    norms = [name for name, tensor in saved.items() if _is_norm(name, tensor)]
    return next((name for name in reversed(norms) if not re.search(r"\.\d+\.", name)), "")


def _scale(weight: torch.Tensor, factor: torch.Tensor | float, offset: float) -> None:
    """Multiply a norm by a factor, in place; `offset` is what the model adds to its weight."""
    weight.copy_((weight + offset) * factor - offset)


def _rescale(model: nn.Module, last: str, offset: float) -> nn.Module:
    """Scale the embedding and the last norm, in place, where the model multiplies by factors of its own.

    Gemma multiplies its embedding by the root of its width, Cohere its logits by 1/16. The factors are powers of two,
    so that the rounding of a machine or a version changes no byte.
    """
    parameters, embedding = dict(model.named_parameters()), model.get_input_embeddings().weight
    ids = torch.arange(SAMPLE)[None] % model.config.vocab_size
    layer = next((module for name, module in model.named_modules() if re.search(r"\.0$", name)), None)
    if layer is not None:
        seen: list[torch.Tensor] = []

        def note_input(_module: nn.Module, inputs: tuple[torch.Tensor, ...], named: dict[str, torch.Tensor]) -> None:
            seen.append(inputs[0] if inputs else named["hidden_states"])

        hook = layer.register_forward_pre_hook(note_input, with_kwargs=True)
        model(input_ids=ids)
        hook.remove()
        embedding.mul_(_power_of_two(1.0, seen[0]))
    if last in parameters:
        _scale(parameters[last], _power_of_two(LOGITS, model(input_ids=ids).logits), offset)
    head = model.get_output_embeddings()
    # OLMo's norms have no weights, and those of Nemotron add 1 to weights that start at 1.
    if head is not None and head.weight is not embedding:
        head.weight.mul_(_power_of_two(LOGITS, model(input_ids=ids).logits))
    return model


def _power_of_two(wanted: float, values: torch.Tensor) -> float:
    """The power of two that brings the deviation of values nearest to the wanted one."""
    return 2.0 ** round(math.log2(wanted / float(values.std())))


def _weight_values(name: str, shape: torch.Size, seed: int, layers: int) -> torch.Tensor:
    """Seeded noise, scaled and shifted like a trained weight of that name; no bias and no norm is constant."""
    # Not `hash`, which differs from process to process.
    generator = np.random.Generator(np.random.PCG64([seed, crc32(name.encode())]))
    noise = torch.from_numpy(generator.standard_normal(tuple(shape), np.float32))
    *above, module, kind = name.split(".")
    if noise.ndim == 1:
        return SPREAD * noise + (QUERY_NORMS.get(module, 1.0) if kind == "weight" else 0.0)
    if "embed" in module or module in HEADS:
        return noise
    if module in CENTRED:
        # In float64: its sums give the same float32 in any order of addition.
        noise -= noise.double().mean(tuple(range(1, noise.ndim)), keepdim=True).float()
    gain = GAINS.get(".".join([*above[-1:], module]), GAINS.get(module, 1.0))
    branches = 2 * layers if module in BRANCHES else 1
    return noise * (gain / math.sqrt(branches * noise[0].numel()))


def pictures(count: int, channels: int, sides: tuple[int, int], seed: int) -> torch.Tensor:
    """Seeded pictures as float64 (count, channels, height, width): noise of five scales, mostly grey, like photographs.

    Brightness and contrast vary from picture to picture.

    Measured on a random ResNet-50: with coloured noise of one brightness and contrast, the logits of any two real
    photographs had a cosine of 0.99; with these pictures it is 0.5 on average.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(planes: int) -> torch.Tensor:
        total = torch.zeros(count, planes, *sides, dtype=torch.float64)
        for octave in range(1, 6):
            grid = torch.randn(count, planes, 2**octave, 2**octave, generator=generator, dtype=torch.float64)
            total += nn.functional.interpolate(grid, size=sides, mode="bilinear", align_corners=True)
        return total / total.std()

    brightness, contrast = torch.randn(2, count, 1, 1, 1, generator=generator, dtype=torch.float64) / 2
    return (noise(1) + 0.3 * noise(channels)) * contrast.exp() + brightness


def set_statistics(model: nn.Module, images: torch.Tensor) -> nn.Module:
    """Give a random image network the statistics of a trained one, in place, in one pass over `images`.

    Batch normalisation gets means and variances: without them activations overflow or vanish over 50 layers. The head's
    bias subtracts the mean picture: without that the logits of all pictures are alike, and no comparison could fail.
    The pass runs in float64 and its results are rounded to 8 bits, so that every machine and every version of PyTorch
    gets the same weights.
    """

    def normalise(norm: _BatchNorm, args: tuple[torch.Tensor]) -> None:
        others = tuple(axis for axis in range(args[0].ndim) if axis != 1)
        variance, mean = torch.var_mean(args[0], dim=others, correction=0)
        norm.running_mean = round_to_8_bits(mean)
        norm.running_var = round_to_8_bits(variance)

    def centre(linear: nn.Linear, args: tuple[torch.Tensor]) -> None:
        linear.bias -= round_to_8_bits((args[0] @ linear.weight.T).flatten(0, -2).mean(0))

    model.double()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        # With this bias most units of a ReLU are active. With a bias of zero half are not, and errors grow in each
        # layer: a random ResNet-50 had an error of 4 % in FP16 and 50 % in INT8; now 0.4 % and 9 %, as a trained one.
        if norm.bias is not None:
            norm.bias.data += 1.0
    hooks = [norm.register_forward_pre_hook(normalise) for norm in norms]
    # The last linear layer is the classifier's head, where that is a linear layer with a bias.
    heads = [module for module in model.modules() if isinstance(module, nn.Linear) and module.bias is not None]
    hooks += [head.register_forward_pre_hook(centre) for head in heads[-1:]]
    with torch.no_grad():
        model(pixel_values=images)
    for hook in hooks:
        hook.remove()
    return model.float()


def round_to_8_bits(values: torch.Tensor) -> torch.Tensor:
    """Rounded to 8 significant bits."""
    mantissa, exponent = torch.frexp(values)
    return torch.ldexp((mantissa * 256).round() / 256, exponent)
