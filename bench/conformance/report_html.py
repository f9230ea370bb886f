"""The verdicts of operator cases in, operators.html out: one page that asks the network for nothing.

The one script on it filters the rows. Its hash is in the page's security policy: no other script can run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from jinja2 import Environment
from markupsafe import Markup

from bench.conformance import report_csv, summary
from bench.conformance.verdicts import BFLOAT16_MARGIN, FLOAT16_MARGIN, VERDICTS
from bench.records import CaseOutcome, OperatorRun
from bench.report import numbers, pages, text

FILE = "operators.html"
SCRIPT = "operators.js"


def render(run: OperatorRun, outcomes: Sequence[CaseOutcome]) -> str:
    """The whole page."""
    script = (pages.TEMPLATES / SCRIPT).read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("operators.html")
        .render(
            run=run,
            summaries=summary.summaries(run, outcomes),
            present={outcome.verdict for outcome in outcomes},
            absent=[target for target in run.targets if not target.tried],
            groups=summary.groups(run, outcomes),
            opsets=summary.opsets(run, outcomes),
            script=Markup(script),  # noqa: S704 - it is ours, and holds nothing of what was measured
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _environment() -> Environment:
    environment = pages.environment()
    environment.globals.update(
        TONES=summary.TONES,
        VERDICTS=VERDICTS,
        margins={"FP16": FLOAT16_MARGIN, "BF16": BFLOAT16_MARGIN},
    )
    environment.filters.update(
        device=report_csv.device,
        grouped=lambda number: f"{number:,}",
        imitated=report_csv.imitated,
        moment=text.moment,
        size=numbers.size,
    )
    return environment
