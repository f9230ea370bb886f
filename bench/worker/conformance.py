"""A `Conform` in; where the nodes of its case ran, and how far its answers are off, out."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.records import CaseDone, CasePayload, Conform
from bench.worker.channel import Channel
from bench.worker.conformance_values import compare, run
from bench.worker.onnx_runtime.assignment import placement
from bench.worker.onnx_runtime.sessions import Request, open_session


def conform(order: Conform, channel: Channel) -> CaseDone:
    """Open a session on the case, run it, and hold its outputs against what is expected.

    Every stage is named with the case, so that a death tells which case it was, and where in it.
    """
    name = order.case.name
    channel.stage("read", name)
    payload = _payload(order)
    channel.stage("session", name)
    # The cases are small: threads would cost more than they bring.
    session = open_session(order.provider, Request(model=payload.model)).session
    channel.stage("run", name)
    answers = run(session, payload)
    channel.stage("compare", name)
    return CaseDone(placement(session), compare(order, payload, answers))


def _payload(order: Conform) -> CasePayload:
    with Path(order.payloads).open("rb") as file:
        file.seek(order.case.at)
        return msgspec.msgpack.decode(file.read(order.case.size), type=CasePayload)
