"""Write `gate.xml`: JUnit XML with a test case for each cell and one for the null control.

It uses the elements and attributes of Jenkins' `junit-10.xsd`, children in its order, which GitLab, Azure and the test
reporters on GitHub read too.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from bench.gating import text
from bench.records import GateCell, GateRun, GateVerdict
from bench.report import escaping

FILE = "gate.xml"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
NO_XML = dict.fromkeys((0xFFFE, 0xFFFF))
"""Characters that XML 1.0 cannot hold even escaped, and that `escaping` does not remove."""
ELEMENTS: dict[GateVerdict, str] = {
    "regression": "failure",
    "lost-support": "failure",
    "worse-answers": "failure",
    "inconclusive": "error",
    "warning": "skipped",
    "not-judged": "skipped",
    "gone": "skipped",
    "added": "skipped",
}
"""The element of each verdict. Only `pass` has none, since readers count a test case without an element as passed."""


def render(run: GateRun) -> str:
    """One test suite in a `testsuites`, with an XML declaration and a final line feed; times are seconds."""
    cases = [_null_case(run), *(_case(cell) for cell in text.ordered(run.cells))]
    suite = ET.Element("testsuite", {"name": _attribute(f"bench gate: {run.name}"), **_totals(run, cases)})
    # Timestamps of JUnit have no time zone.
    suite.set("timestamp", _attribute(run.created)[:19])
    # No record holds a hostname; the machine's key tells readers which one it was.
    suite.set("hostname", _attribute(run.machine.key))
    _properties(suite, run)
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = _body([run.verdict, *run.notes])
    suites = ET.Element("testsuites", {"name": "touchstone", **_totals(run, cases)})
    suites.attrib.pop("skipped")  # the schema allows it on a suite only
    suites.append(suite)
    ET.indent(suites)
    return f"{DECLARATION}\n{ET.tostring(suites, encoding='unicode')}\n"


def _totals(run: GateRun, cases: list[ET.Element]) -> dict[str, str]:
    ended = {name: sum(case.find(name) is not None for case in cases) for name in ("failure", "error", "skipped")}
    return {
        "tests": str(len(cases)),
        "failures": str(ended["failure"]),
        "errors": str(ended["error"]),
        "skipped": str(ended["skipped"]),
        "time": f"{60 * run.minutes:.3f}",
    }


def _properties(suite: ET.Element, run: GateRun) -> None:
    """Add what the gate compared and its rules as properties; each difference is one property."""
    named = [
        ("base", run.base),
        ("base_created", run.base_created),
        ("created", run.created),
        ("machine_key", run.machine.key),
        ("bench_version", run.bench_version),
        ("command", run.command),
        ("exit_code", str(run.exit_code)),
        ("verdict", run.verdict),
        *(("difference", difference) for difference in run.differences),
        *((f"rule.{name}", f"{value:g}") for name, value in run.effects.items()),
    ]
    properties = ET.SubElement(suite, "properties")
    for name, value in named:
        ET.SubElement(properties, "property", {"name": _attribute(name), "value": _attribute(value)})


def _null_case(run: GateRun) -> ET.Element:
    case = ET.Element("testcase", {"classname": "gate", "name": "null control", "time": "0.000"})
    words = text.null_control(run)
    if not run.null.fine:
        ET.SubElement(case, "error", {"type": "null-control", "message": _attribute(words)}).text = _body([words])
    ET.SubElement(case, "system-out").text = _body([f"null control {words}"])
    return case


def _case(cell: GateCell) -> ET.Element:
    case = ET.Element("testcase", {"classname": _class(cell.cell), "name": _attribute(cell.cell)})
    case.set("time", f"{cell.seconds:.3f}")
    lines = [cell.reason, *([f"Remedy: {cell.remedy}"] if cell.remedy else [])]
    lines += [f"{name}: {value}" for name, value in text.figures(cell)]
    if element := ELEMENTS.get(cell.verdict):
        place = ET.SubElement(case, element, {"type": cell.verdict, "message": _attribute(_message(cell))})
    else:
        place = ET.SubElement(case, "system-out")
    place.text = _body([*lines, *cell.notes])
    return case


def _message(cell: GateCell) -> str:
    """The reason, after the verdict if the element does not show it."""
    return cell.reason if cell.verdict in text.RED else f"{text.named(cell.verdict)}: {cell.reason}"


def _class(cell: str) -> str:
    """`gate.minilm`: readers group by it, and split package names at dots, so the model's own dots are replaced."""
    return f"gate.{_attribute(cell.partition('/')[0]).replace('.', '_')}"


def _attribute(words: str) -> str:
    return escaping.line(words).translate(NO_XML)


def _body(lines: Iterable[str]) -> str:
    return "\n".join(escaping.lines(line) for line in lines).translate(NO_XML)
