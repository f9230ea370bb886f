"""No code looks into a sentence: what code must know of a fact is its kind and its values.

A sentence is what a name or an attribute of `PROSE` holds, or what a loop or an assignment takes from one. It may be
shown, joined and compared with another sentence for being the same; it may not be searched, cut, or compared with words
that stand in the code. The error of a library is no such sentence until it is in a record: where an exception is
caught, its words are all that a library gives, and there they become a kind.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import nodes
from test_floors import MODULES, PACKAGE, name_of

from bench.report import pages

PROSE = {
    *("note", "notes", "reason", "reasons", "remedy", "remedies", "message", "messages", "detail", "details"),
    *("flag_details", "difference", "differences", "changed", "conclusion", "conclusions", "complaint", "hint"),
    *("problem", "first_death"),
}
"""Names and attributes that hold sentences, ours or a library's."""
PROSE_FIELDS = {"text", "said", "told"}
"""The same for attributes and keys only: as plain names they are used for other things."""
MAKERS = {"differences", "conclusions", "notes", "reasons", "violations"}
"""Functions whose result is several sentences."""
CUTTING = {
    *("startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "split", "rsplit"),
    *("find", "rfind", "index", "rindex", "count"),
}
SEARCHING = {"match", "fullmatch", "search", "findall", "finditer"}
"""Methods of a pattern and functions of `re`."""
STRAIGHT = {"strip", "lstrip", "rstrip", "lower", "upper", "casefold"}
"""Methods whose result is the same sentence."""
CONVERTER = "bench.records.schema_1"
"""Runs of schema 1 hold sentences only: the one place that looks into them."""
ALLOWED = {
    # A library prints the error that it raises, and the worker may have quoted it: two texts of the library are
    # compared, so that a reader sees it once. No status, kind or remedy depends on it.
    "bench.worker_ends": ["words[-OVERLAP:] in message"],
}
"""Expressions that read a library's own error in a sentence, by file, each with its reason."""


def looks_into_sentences(tree: ast.AST) -> list[str]:
    """Every expression of a file that breaks the rule."""
    found = []
    for scope in scopes(tree):
        taken = taken_from_prose(scope)
        found += [ast.unparse(node) for node in own(scope) if breaks(node, taken)]
    return found


def scopes(tree: ast.AST) -> Iterator[ast.AST]:
    """The file and every function and class in it, each of which has names of its own."""
    yield tree
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def own(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope without those of the functions inside it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from own(child)


def taken_from_prose(scope: ast.AST) -> set[str]:
    """The names that a loop, a comprehension or an assignment of the scope binds to a sentence."""
    taken: set[str] = set()
    for _ in range(3):  # a name may be taken from a name that was taken before it
        for node in own(scope):
            if isinstance(node, ast.For | ast.comprehension) and is_prose(node.iter, taken):
                taken |= bound(node.target)
            if isinstance(node, ast.Assign) and is_prose(node.value, taken):
                taken |= {name for target in node.targets for name in bound(target)}
            if isinstance(node, ast.NamedExpr) and is_prose(node.value, taken):
                taken |= bound(node.target)
    return taken


def bound(target: ast.AST) -> set[str]:
    return {target.id} if isinstance(target, ast.Name) else set()


def is_prose(node: ast.AST, taken: set[str]) -> bool:
    """Whether an expression is a sentence, or several."""
    match node:
        case ast.Name(name):
            return name in PROSE or name in taken
        case ast.Attribute(_, name):
            return name in PROSE | PROSE_FIELDS
        case ast.Subscript(value, key):
            return is_prose_key(key) or is_prose(value, taken)
        case ast.Call(called, arguments):
            return returns_prose(called, arguments, taken)
        case ast.BinOp(left, ast.Add(), right):
            return is_prose(left, taken) or is_prose(right, taken)
    return False


def returns_prose(called: ast.AST, arguments: list[ast.expr], taken: set[str]) -> bool:
    """Whether a call gives a sentence: by its name, by the key that it looks up, or as its argument is one."""
    match called:
        case ast.Attribute(value, "get"):
            return is_prose(value, taken) or any(map(is_prose_key, arguments[:1]))
        case ast.Attribute(value, method) if method in STRAIGHT:
            return is_prose(value, taken)
        case ast.Name("str"):
            return any(is_prose(argument, taken) for argument in arguments)
        case ast.Name(name) | ast.Attribute(_, name):
            return name in MAKERS
    return False


def is_prose_key(key: ast.AST) -> bool:
    return isinstance(key, ast.Constant) and key.value in PROSE | PROSE_FIELDS


def breaks(node: ast.AST, taken: set[str]) -> bool:
    """Whether a node cuts a sentence, searches in it, or compares it with words of the code."""
    match node:
        case ast.Call(ast.Attribute(value, method)) if method in CUTTING:
            return is_prose(value, taken)
        case ast.Call(ast.Attribute(_, method), arguments) if method in SEARCHING:
            return any(is_prose(argument, taken) for argument in arguments)
        case ast.Compare(left, [ast.In() | ast.NotIn()], [right]):
            return is_prose(right, taken) or (is_prose(left, taken) and is_words(right))
        case ast.Compare(left, [ast.Eq() | ast.NotEq()], [right]):
            return any(is_prose(a, taken) and is_words(b) for a, b in ((left, right), (right, left)))
    return False


def is_words(node: ast.AST) -> bool:
    """Words of the code: a text, a constant by its name, or a collection of these; an empty text is no word."""
    match node:
        case ast.Constant(str(words)):
            return bool(words)
        case ast.JoinedStr():
            return True
        case ast.Name(name) | ast.Attribute(_, name):
            return name.isupper()
        case ast.Tuple(items) | ast.List(items) | ast.Set(items):
            return any(is_words(item) for item in items)
    return False


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path) != CONVERTER], ids=name_of)
def test_no_code_looks_into_a_sentence(path: Path) -> None:
    assert looks_into_sentences(ast.parse(path.read_text(encoding="utf-8"))) == ALLOWED.get(name_of(path), [])


# --- templates --------------------------------------------------------------------------------------------------------


def looks_into_sentences_of_jinja(tree: nodes.Node) -> list[nodes.Node]:
    """Expressions of a template that search in a sentence, cut it, or compare it with words."""

    def prose(node: nodes.Node) -> bool:
        if isinstance(node, nodes.Filter) and node.node is not None:
            return node.name in PROSE or prose(node.node)
        return (
            isinstance(node, nodes.Getattr | nodes.Name) and getattr(node, "attr", getattr(node, "name", "")) in PROSE
        )

    def words(node: nodes.Node) -> bool:
        return isinstance(node, nodes.Const) and isinstance(node.value, str) and bool(node.value)

    compared = [
        node
        for node in tree.find_all(nodes.Compare)
        for operand in node.ops
        if (operand.op in ("in", "notin") and prose(operand.expr))
        or (operand.op in ("eq", "ne") and (prose(node.expr) and words(operand.expr)))
    ]
    calls = [call for call in tree.find_all(nodes.Call) if isinstance(call.node, nodes.Getattr)]
    cut = [
        call for call in calls if getattr(call.node, "attr", "") in CUTTING and prose(getattr(call.node, "node", None))
    ]
    return [*compared, *cut]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("templates/*.html")), ids=lambda path: path.name)
def test_no_template_looks_into_a_sentence(path: Path) -> None:
    assert not looks_into_sentences_of_jinja(pages.environment().parse(path.read_text(encoding="utf-8")))


# --- the rule sees what it was made for -------------------------------------------------------------------------------

OLD = [
    "any(SOFTWARE_ADAPTER in note for seen in evidence.seen for note in seen.notes)",
    "any(note.startswith(UNKNOWN_OPTION) for note in notes)",
    "any(SOFTWARE_ADAPTER in note for note in _notes(facts, outcomes))",
    "finding.facts.message.removeprefix('not tried: ')",
    "finding.facts.kind == 'no-runtime' and finding.facts.message.endswith(NOT_MADE)",
    "(note for note in finding.facts.notes if note != 'emulated device')",
    "tuple(note for note in said if note and note != text.EMULATED_DEVICE)",
    "tuple(note for note in outcome.notes if not note.startswith(told))",
    "next((note.removeprefix(beginning) for note in outcome.notes), '')",
    "outcome.reason.partition('; ')[0] if outcome.status == 'partial' else outcome.reason",
    "[one for one in cell.changed if one.startswith('another ')]",
    "[one for one in differences(base, new) if ' only in the ' in one]",
    "change.conclusion.removeprefix(f'{series.figure}: ') if change else first(series)",
    "NEWER.search(failure.message)",
    "said = outcome.reason\nhead = said.split('; ')",
    "note.values['text'].startswith('unsupported')",
    "'unsupported' in str(note.values.get('text'))",
    "facts.message.strip().lower().endswith('made yet')",
    "reason in ('a', 'b')",
]


@pytest.mark.parametrize("code", OLD)
def test_what_code_did_before_is_seen(code: str) -> None:
    assert looks_into_sentences(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "any(note.kind == 'software-adapter' for note in facts.notes)",
        "note.values.get('start') == start",
        "len({outcome.reason for outcome in outcomes}) == 1",
        "message != quoted",
        "facts.message != ''",
        "', '.join(reason for reason in reasons)",
    ],
)
def test_kinds_and_whole_sentences_may_be_read(code: str) -> None:
    assert not looks_into_sentences(ast.parse(code))


def test_a_template_that_looks_into_an_error_is_seen() -> None:
    parse = pages.environment().parse
    assert looks_into_sentences_of_jinja(parse("{% if failure.message not in trouble.reason %}x{% endif %}"))
    assert looks_into_sentences_of_jinja(parse("{{ outcome.reason.split('; ')[0] }}"))
    assert looks_into_sentences_of_jinja(parse("{% if (outcome | reason) == 'slow' %}x{% endif %}"))
    assert not looks_into_sentences_of_jinja(parse("{% if trouble.error %}{{ trouble.reason }}{% endif %}"))
