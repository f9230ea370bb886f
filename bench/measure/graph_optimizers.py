"""Names the graph optimizers of ONNX Runtime, and searches the ones at fault among them (pure)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from bench.records.plan import Optimization

DISABLED = "optimization.disable_specified_optimizers"
"""The session entry that switches single optimizers off: their names, with semicolons between them."""
LEVELS: tuple[Optimization, ...] = ("none", "basic", "extended", "all")
MOST_OPTIMIZERS = 3
"""A longer list of optimizers explains nothing, and each of them costs six attempts."""

# As ONNX Runtime 1.31 names them in its log at severity `verbose`, and the rules inside of two of them. A name that a
# version does not have is ignored by it; one that is missing here is never named as the cause.
OPTIMIZERS: dict[Optimization, tuple[str, ...]] = {
    "basic": (
        "EnsureUniqueDQForNodeUnit",
        "EliminateIdentity",
        "EliminateSlice",
        "EliminateDropout",
        "UnsqueezeElimination",
        "ExpandElimination",
        "CastElimination",
        "CastChainElimination",
        "PreShapeNodeElimination",
        "NoopElimination",
        "DivMulFusion",
        "FuseReluClip",
        "GemmSumFusion",
        "GemmTransposeFusion",
        "NotWhereFusion",
        "ConvAddFusion",
        "ConvMulFusion",
        "ConvBNFusion",
        "Pad_Fusion",
        "MatMul_BatchNormalization_Fusion",
        "LabelEncoderFusion",
        "Level1_RuleBasedTransformer",
        "DoubleQDQPairsRemover",
        "ConstantSharing",
        "CommonSubexpressionElimination",
        "ConstantFolding",
        "MatMulAddFusion",
        "ReshapeFusion",
        "SliceConcatToSpaceToDepthFusion",
        "GeluFusionL1",
        "LayerNormFusionL1",
        "QDQPropagationTransformer",
        "WeightBiasQuantization",
        "WhereDummyDq",
        "DQMatMulNBitsFusion",
        "TransposeOptimizer",
    ),
    "extended": (
        "ClipQuantRewrite",
        "ReluQuantRewrite",
        "Level2_RuleBasedTransformer",
        "TransposeOptimizer_CPUExecutionProvider",
        "QDQS8ToU8Transformer",
        "QDQSelectorActionTransformer",
        "GemmActivationFusion",
        "MatMulIntegerToFloatFusion",
        "DynamicQuantizeMatMulFusion",
        "ConvActivationFusion",
        "GeluFusionL2",
        "LayerNormFusionL2",
        "SimplifiedLayerNormFusion",
        "AttentionFusion",
        "EmbedLayerNormFusion",
        "GatherSliceToSplitFusion",
        "GatherToSliceFusion",
        "MatmulTransposeFusion",
        "BiasGeluFusion",
        "GroupQueryAttentionFusion",
        "SkipLayerNormFusion",
        "BiasSkipLayerNormFusion",
        "FastGeluFusion",
        "QuickGeluFusion",
        "BiasSoftmaxFusion",
        "BiasDropoutFusion",
        "MatMulScaleFusion",
        "MatMulActivationFusion",
        "MatMulNBitsFusion",
        "MatMulNBitsQkvFusion",
        "MatMulNBitsMlpFusion",
        "GroupQueryAttentionPreNormFusion",
        "QDQFinalCleanupTransformer",
        "Avx2WeightS8ToU8Transformer",
    ),
    "all": (
        "NchwcTransformer",
        "NhwcTransformer",
        "ConvAddActivationFusion",
        "GqaValueLayoutTransformer",
        "FuseFp16InitializerToFp32NodeTransformer",
    ),
}
"""By the lowest level that has them, in the order in which they are applied."""

Result = Literal["right", "wrong", "failed"]
Attempt = Callable[[Optimization, Sequence[str]], Result]
"""Runs the model at a level, without some optimizers. Raises `TimeUsedUpError` when no time is left."""


class TimeUsedUpError(Exception):
    """The time of a search is used up."""


class Finding(Struct, frozen=True):
    """The highest level that is right, and the optimizers of the level asked for that are at fault."""

    works: Optimization
    optimizers: tuple[str, ...] = ()
    """Without these the level asked for is right too; empty where they were not found."""


def search(asked: Optimization, attempt: Attempt) -> Finding | None:
    """The finding for a model that fails or is wrong at the level `asked`; None where no lower level is right."""
    works = _highest(asked, attempt)
    if works is None:
        return None
    try:
        return Finding(works, _at_fault(asked, works, attempt))
    except TimeUsedUpError:
        return Finding(works)


def _highest(asked: Optimization, attempt: Attempt) -> Optimization | None:
    lower = LEVELS[: LEVELS.index(asked)]
    works: Optimization | None = None
    try:
        # First without any: a model that is wrong then is wrong by itself, as after a coarse quantization.
        bare = attempt("none", ()) if lower else "wrong"
        if bare == "wrong":
            return None
        # A failure decides nothing yet: some operators have a kernel only after an optimization has replaced them.
        works = "none" if bare == "right" else None
        works = next((level for level in reversed(lower[1:]) if attempt(level, ()) == "right"), works)
    except TimeUsedUpError:
        pass
    return works


def _at_fault(asked: Optimization, works: Optimization, attempt: Attempt) -> tuple[str, ...]:
    """A smallest set of optimizers without which the level asked for is right; empty where none is found."""
    levels = LEVELS[LEVELS.index(works) + 1 : LEVELS.index(asked) + 1]
    # The last that are applied come first: where either of two heals a model, the later one broke it.
    names = [name for level in reversed(levels) for name in reversed(OPTIMIZERS[level])]
    if attempt(asked, names) != "right":
        return ()
    needed: list[str] = []
    while len(needed) < MOST_OPTIMIZERS:
        low, high = 0, len(names)
        while low < high:
            middle = (low + high) // 2
            if attempt(asked, [*needed, *names[:middle]]) == "right":
                high = middle
            else:
                low = middle + 1
        if not high:
            return tuple(needed)
        # Without the last of the shortest right beginning the model fails again, so that one is needed.
        needed.append(names[high - 1])
        names = names[: high - 1]
    return tuple(needed) if attempt(asked, needed) == "right" else ()
