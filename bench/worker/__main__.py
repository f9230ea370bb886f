"""Runs a worker process, `python -m bench.worker`: it reads orders from stdin and writes replies to stdout."""

from __future__ import annotations

import sys
import traceback

from bench.records import (
    Assess,
    Begin,
    Build,
    Burst,
    Collect,
    Conform,
    Done,
    Failed,
    Hold,
    Label,
    Order,
    Probe,
    Probed,
    Profile,
    Refer,
    Sustain,
    Unpack,
)
from bench.worker import engines
from bench.worker.channel import Channel
from bench.worker.failures import failure_of


def main() -> None:
    """Serve orders until the parent closes the stream."""
    channel = Channel()
    for order in channel.orders():
        try:
            obey(order, channel)
        except Exception as error:  # noqa: BLE001 - every error of a library becomes data
            # The reply holds one line of the error; the whole traceback goes to the log.
            traceback.print_exc()
            channel.say(Failed(failure_of(error, channel.stage_name)))
        # Also after a failure: it ends the order for the parent.
        channel.say(Done())


def obey(order: Order, channel: Channel) -> None:
    """Carry out one order and send its replies.

    Each case imports its module late: a worker loads only what its own order needs, so that start-up times and memory
    are those of the measured library.
    """
    match order:
        case Begin():
            from bench.worker.cold_start import start

            start(order, channel)
        case Hold():
            from bench.worker.warm_session import hold

            hold(order, channel)
        case Burst():
            from bench.worker.warm_session import burst

            channel.say(burst(order, channel))
        case Profile():
            from bench.worker.warm_session import profile

            profile(order, channel)
        case Sustain():
            from bench.worker.sustained import sustain

            sustain(order, channel)
        case Probe():
            channel.stage("import")
            engine = engines.named(order.engine)
            channel.stage("probe")
            channel.say(Probed(engine.probe(order)))
        case Build() | Refer() | Label() | Unpack():
            channel.stage("import")
            prepare(order, channel)
        case Assess():
            from bench.worker.labelled import orders

            orders.assess(order, channel)
        case Collect():
            channel.stage("import")
            from bench.worker.conformance_collect import collect

            channel.stage("collect")
            channel.say(collect(order))
        case Conform():
            channel.stage("import", order.case.name)
            from bench.worker.conformance import conform

            channel.say(conform(order, channel))


def prepare(order: Build | Refer | Label | Unpack, channel: Channel) -> None:
    """Carry out an order that writes an artifact, and send what it is."""
    from bench.worker import artifacts

    match order:
        case Build():
            from bench.worker import formats

            # Imports the format's libraries now, so that a failure is attributed to `import` and not to the export.
            formats.recipes(order.format)
            channel.stage("convert" if order.parent else "export")
            channel.say(artifacts.build(order))
        case Refer():
            channel.stage("reference")
            channel.say(artifacts.refer(order))
        case Label():
            from bench.worker.labelled import orders

            channel.stage("labels")
            channel.say(orders.label(order))
        case Unpack():
            channel.stage("unpack")
            channel.say(artifacts.unpack(order))


if __name__ == "__main__":
    main()
    sys.exit(0)
