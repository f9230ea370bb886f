"""`python -m bench.worker`: orders in on stdin, replies out on stdout; the only place that catches everything."""

from __future__ import annotations

import sys
import traceback

from msgspec.structs import replace

from bench.records import Convert, Done, Export, Failed, Failure, Order, Probe, Refer, Status, Visit
from bench.worker import engines
from bench.worker.channel import Channel, plain_failure
from bench.worker.refusal import Refusal

REFUSING_STAGES: dict[str, Status] = {
    "export": "unsupported",
    "convert": "unsupported",
    "session": "unsupported",
    "import": "unavailable",
}
"""What an exception means by its stage: an exporter, quantizer or provider refused, or a package is missing."""
BUILD_STAGES: dict[type, str] = {Export: "export", Convert: "convert", Refer: "reference"}


def main() -> None:
    """Serve orders until the parent closes the stream."""
    channel = Channel()
    for order in channel.orders():
        try:
            obey(order, channel)
        except Exception as error:  # noqa: BLE001 - the border: whatever happens in a library becomes data
            traceback.print_exc()
            channel.say(Failed(failure_of(error, channel.stage_name)))
        channel.say(Done())


def obey(order: Order, channel: Channel) -> None:
    """Carry out one order."""
    match order:
        case Visit():
            from bench.worker.visit import visit

            visit(order, channel)
        case Probe():
            channel.stage("import")
            engine = engines.named(order.engine)
            channel.stage("probe")
            channel.say(engine.probe(order))
        case Export() | Convert() | Refer():
            channel.stage("import")
            from bench.worker import build

            channel.stage(BUILD_STAGES[type(order)])
            channel.say(build.obey(order))


def failure_of(error: Exception, stage: str) -> Failure:
    """What an exception says about the cell, by its class and the stage it came from."""
    failure = plain_failure(error, stage)
    if isinstance(error, Refusal):
        return replace(failure, status=error.status, message=error.message, remedy=error.remedy)
    if isinstance(error, MemoryError) or "bad_alloc" in str(error):
        return replace(failure, status="out-of-memory")
    if isinstance(error, ImportError):
        remedy = "the runtime lacks a package: see its requirements in the matrix"
        return replace(failure, status="unavailable", remedy=remedy)
    return replace(failure, status=REFUSING_STAGES.get(stage, "failed"))


if __name__ == "__main__":
    main()
    sys.exit(0)
