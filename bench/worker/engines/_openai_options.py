"""Reads the options of a server in the matrix: its address, key and request fields."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from bench.records import Device, Option
from bench.worker.refusal import Refusal

OPTIONS = ("url", "model", "key", "remote", "extra", "timeout_s", "device")
RESERVED_FIELDS = ("model", "prompt", "max_tokens", "temperature", "stream", "stream_options", "n")
"""Request fields that define the measurement; the option `extra` may not set them."""
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
TIMEOUT_S = 300.0
KINDS = ("cpu", "gpu", "npu")


@dataclass(frozen=True)
class Server:
    """A server as the matrix describes it. The key must not appear in any output."""

    base: str
    """The address of the API, up to `/v1`."""
    label: str
    """Host and port."""
    model: str | None
    key_name: str
    key: str = field(repr=False)
    remote: bool
    extra: Mapping[str, Any]
    timeout_s: float
    device: Device | None


def read(options: Mapping[str, Option]) -> Server:
    """Read the options; Refusal names a missing or wrong option, and never contains the key."""
    for name in options:
        if name not in OPTIONS:
            raise option_refusal(f"the engine openai-http has no option {name!r}", f"it has {', '.join(OPTIONS)}")
    url = _url(options)
    name = str(options.get("key", ""))
    remote = not _is_local(str(url.hostname))
    key = _key(name)
    # Only `true` itself: the text "false" would count as true.
    if remote and options.get("remote") is not True:
        message = f"{url.hostname} is not this machine, and the prompts would be sent there"
        raise option_refusal(message, "write remote = true if that is what you want")
    if remote and key and url.scheme == "http":
        raise option_refusal(f"the key in {name} would cross the network unencrypted", "use an https url")
    path = url.path.rstrip("/")
    return Server(
        base=f"{url.scheme}://{url.netloc}{path if path.endswith('/v1') else path + '/v1'}",
        label=url.netloc,
        model=str(options["model"]) if options.get("model") else None,
        key_name=name,
        key=key,
        remote=remote,
        extra=_extra(str(options.get("extra", ""))),
        timeout_s=_seconds(options.get("timeout_s", TIMEOUT_S)),
        device=_device(options, url.netloc),
    )


def _url(options: Mapping[str, Option]) -> SplitResult:
    """The address; Refusal where it contains a user, a query or a fragment, which may be secret."""
    text = options.get("url")
    remedy = 'write e.g. url = "http://127.0.0.1:1234/v1"'
    if not text:
        raise option_refusal("the engine openai-http needs the url of a server", remedy)
    try:
        url = urlsplit(str(text))
        # `urlsplit` accepts any text as a port; only this property raises ValueError.
        port = url.port
    except ValueError:
        raise option_refusal("the url of the server cannot be read", remedy) from None
    if "@" in url.netloc or url.query or url.fragment:
        raise option_refusal(
            "the url of a server holds more than its address", "put a key into an environment variable"
        )
    if url.scheme not in ("http", "https") or not url.hostname or port == 0:
        raise option_refusal(f"{text!r} is no address of a server", remedy)
    return url


def _is_local(host: str) -> bool:
    """Whether the host is this machine; other names need a look-up in the network, so they count as remote."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key(name: str) -> str:
    """The value of the environment variable; Refusal where it is empty or not valid in an HTTP header."""
    if not name:
        return ""
    if not VARIABLE.fullmatch(name):
        # The value is not shown: it may be the key itself.
        raise option_refusal("the option key is no name of an environment variable", 'write e.g. key = "SERVER_KEY"')
    key = os.environ.get(name, "").strip()
    if not key:
        message = f"the environment variable {name} is not set"
        raise Refusal("unavailable", message, "set it to the server's key, and start again", "option")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise option_refusal(f"the key in {name} holds characters that no header can carry", "set it again")
    return key


def _extra(text: str) -> dict[str, Any]:
    """Additional request fields for servers that know them: `{"cache_prompt": false}`."""
    if not text:
        return {}
    try:
        fields = json.loads(text)
    # RecursionError: thousands of nested brackets.
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise option_refusal("the option extra is no JSON object", """write e.g. extra = '{"ignore_eos": true}'""")
    for name in fields:
        if name in RESERVED_FIELDS:
            raise option_refusal(f"the option extra sets {name!r}, which is part of what is measured", "leave it out")
    return fields


def _seconds(value: Option) -> float:
    # In Python `True` is an integer, but it is no number of seconds.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86_400:
        raise option_refusal(f"timeout_s is {value!r}", "write seconds, e.g. 300")
    return float(value)


def _device(options: Mapping[str, Option], label: str) -> Device | None:
    """The device that the matrix declares for the server; a client cannot detect it."""
    kind = options.get("device")
    if kind is None:
        return None
    if kind not in KINDS:
        raise option_refusal(f"unknown device {kind!r}", f"write one of {', '.join(KINDS)}")
    # mypy does not narrow a text to literals by `in`.
    return Device(kind, 0, name=f"of the server {label}, as declared")  # type: ignore[arg-type]


def option_refusal(message: str, remedy: str) -> Refusal:
    """The refusal of an invalid option."""
    return Refusal("unsupported", message, remedy, "option")
