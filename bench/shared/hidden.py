"""What a stored matrix has in place of the value of an environment variable, and of credentials in an address."""

from __future__ import annotations

import re

SET = "<set>"
SEALED = re.compile(r"<set(?: (?P<key>[0-9a-f]{8}):(?P<digest>[0-9a-f]{16}))?>")
"""A value that is hidden; with a seal, two runs of one cache tell whether they had the same value."""
SECRET_NAME = re.compile(
    r"TOKEN(?!IZ)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|COOKIE|ACCESS_?KEY|API_?KEY|(?:^|_)(?:KEY|PAT|PASS)$",
    re.IGNORECASE,
)
"""How variables are called whose values are secrets."""
LEFT_OUT = "…"
USER_IN_ADDRESS = re.compile(r"(?<=://)[^\s/\\'\"`<>]+(?=@)")
"""`user:password` or a token in front of a host."""
SECRET_IN_QUERY = re.compile(
    r"""(?<=[?&])([\w.-]{0,40}(?:token|secret|password|passwd|signature|credential|api_?key|access_?key)[\w.-]{0,40}=|key=|sig=)"""
    r"""[^\s&#'"]+""",
    re.IGNORECASE,
)


def is_hidden(value: str) -> bool:
    """Whether a text stands for a value that is not stored."""
    return SEALED.fullmatch(value) is not None


def as_set(value: str) -> str:
    """`<set>` for a value; an empty one hides nothing and stays."""
    return SET if value else ""


def are_other_values(before: str, after: str) -> bool:
    """Whether two seals are known to be of different values; seals of two caches cannot be compared."""
    old, new = SEALED.fullmatch(before), SEALED.fullmatch(after)
    return bool(old and new and old["key"] and old["key"] == new["key"] and old["digest"] != new["digest"])


def without_credentials(text: str) -> str:
    """The text with `…` for users, passwords and tokens in addresses: `https://…@host/x?token=…`."""
    if "://" not in text:
        return text
    return SECRET_IN_QUERY.sub(rf"\1{LEFT_OUT}", USER_IN_ADDRESS.sub(LEFT_OUT, text))


def lacks_credentials(text: str) -> bool:
    """Whether credentials were left out of an address."""
    return f"://{LEFT_OUT}@" in text or f"={LEFT_OUT}" in text
