"""Turns an exception and its stage into the `Failure` of a cell."""

from __future__ import annotations

import re

from msgspec.structs import replace

from bench.records import Failure, Status
from bench.shared.native_errors import first_sentence, plain
from bench.worker.refusal import Refusal

REFUSING_STAGES: dict[str, Status] = {
    "export": "unsupported",
    "convert": "unsupported",
    "session": "unsupported",
    "import": "unavailable",
}
"""What an exception means by its stage: an exporter, quantizer or provider refused, or a package is missing."""
# Whole phrases, because errors also mention allocators where memory is not the cause.
MEMORY_WORDS = re.compile(
    r"bad_alloc|out of (?:device |host |video )?memory|failed to allocate memory|can't allocate memory"
    r"|_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation|OUT_OF_(?:DEVICE|HOST)_MEMORY|E_OUTOFMEMORY|8007000E"
    r"|not enough memory|smaller than requested bytes",
    re.IGNORECASE,
)
"""How onnxruntime, CUDA, cuDNN, Vulkan, Direct3D and PyTorch report exhausted memory; none has a class for it."""
# A number with a unit is left as it is: PyTorch prints `20.00 MiB`.
MISSED_BYTES = re.compile(r"(?:buffer of size|requested bytes of|tried to allocate) (\d+)(?![\d.]*\s*[KMGT]i?B)")
CALLS_ON_THE_WAY = re.compile(r"Exception from \S+\.(?:cpp|hpp|h):\d+:")
"""The start of OpenVINO's line for each call that an error passed through; the last line is the error itself."""


def failure_of(error: BaseException, stage: str) -> Failure:
    """The failure of a cell: its status follows from the exception's class, its message and its stage."""
    failure = plain_failure(error, stage)
    # A refusal quotes what a library raised, and memory may have been the reason.
    cause = error.__cause__ if isinstance(error, Refusal) and error.__cause__ else error
    # Before the stage is looked at: memory can run out in every stage.
    if isinstance(cause, MemoryError) or MEMORY_WORDS.search(str(cause)):
        return replace(failure, status="out-of-memory", message=_with_size(failure.message, str(cause)))
    if isinstance(error, Refusal):
        kind = error.kind or failure.kind
        return replace(failure, status=error.status, kind=kind, message=error.message, remedy=error.remedy)
    # In every stage: some packages are imported only when a recipe runs.
    if isinstance(error, ImportError):
        remedy = "the runtime lacks a package: see its requirements in the matrix"
        return replace(failure, status="unavailable", remedy=remedy)
    return replace(failure, status=REFUSING_STAGES.get(stage, "failed"))


def plain_failure(error: BaseException, stage: str) -> Failure:
    """The exception as data, with the status `failed`."""
    return Failure(status="failed", stage=stage, kind=type(error).__name__, message=reason_of(error))


def reason_of(error: BaseException) -> str:
    """The line of an error that gives the reason, at most 500 characters; the log has the whole error.

    It is the first line, or the last where the error begins with the calls that it passed through. A line that ends in
    a colon is continued with the next. A `KeyError` gets its class in front, because its message is only the key.
    """
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or isinstance(error, LookupError | AssertionError):
        lines = [": ".join([type(error).__name__, *lines[:1]])]
    return plain(lines[-1] if CALLS_ON_THE_WAY.search(text) else first_sentence(lines))[:500]


def _with_size(message: str, text: str) -> str:
    """The message, with the requested size in MiB where the library gives bytes."""
    match = MISSED_BYTES.search(text)
    return f"{message} ({int(match[1]) / 2**20:.0f} MiB)" if match else message
