"""Everything public explains itself, and every rule of Raft names its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.house import measure

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kvlearn"
SOURCE = re.compile(r"\b(thesis )?\d+\.\d+|\bfigure \d|\bsection \d|\betcd\b")
SHORT = 4  # a method of so few code lines that it is its own explanation


def undocumented(source: str) -> Iterator[str]:
    """Public classes, functions and longer methods without a docstring.

    An event needs none when it has a `__str__`: that sentence is its meaning.
    """
    lines = measure.code_lines(source)

    def inside(body: list[ast.stmt], owner: str) -> Iterator[str]:
        for node in body:
            if not isinstance(node, (ast.ClassDef, *measure.FUNCTIONS)) or node.name[0] == "_":
                continue
            size = len(lines & set(range(node.lineno, node.end_lineno + 1)))
            method = owner and not isinstance(node, ast.ClassDef)
            tells = isinstance(node, ast.ClassDef) and "__str__" in {
                getattr(child, "name", "") for child in node.body
            }
            if not (ast.get_docstring(node) or tells or (method and size <= SHORT)):
                yield f"{owner}{node.name}"
            if isinstance(node, ast.ClassDef):
                yield from inside(node.body, f"{owner}{node.name}.")

    tree = ast.parse(source)
    if tree.body and not ast.get_docstring(tree):
        yield "the module"
    yield from inside(tree.body, "")


def rules(source: str) -> list[ast.FunctionDef]:
    """The methods below the line `# Rules`."""
    lines = source.splitlines()
    start = next(n for n, line in enumerate(lines, 1) if re.match(r" +# Rules\b", line))
    return [n for n in ast.walk(ast.parse(source)) if method_after(n, start)]


def method_after(node: ast.AST, line: int) -> bool:
    return isinstance(node, ast.FunctionDef) and node.lineno > line and node.col_offset == 4


def sourceless(source: str) -> list[str]:
    """Rules whose docstring names no section, figure or etcd."""
    return [
        rule.name for rule in rules(source) if not SOURCE.search(ast.get_docstring(rule) or "")
    ]


def test_everything_public_has_a_docstring():
    silent = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in undocumented(path.read_text(encoding="utf-8"))
    ]
    assert not silent, "\n".join(silent)


def test_every_rule_names_its_source():
    raft = (PACKAGE / "raft" / "rules.py").read_text(encoding="utf-8")
    assert {"may_vote_for", "log_matches", "may_commit"} <= {rule.name for rule in rules(raft)}
    assert sourceless(raft) == []


def test_silence_is_noticed():
    long = "        x = 1\n" * SHORT
    code = f"class A:\n    def f(self):\n{long}def g(): pass\ndef _h(): pass"
    assert list(undocumented(code)) == ["the module", "A", "A.f", "g"]
    rule = 'class R:\n    # Rules ---\n    def f(self):\n        """{}"""\n'
    assert sourceless(rule.format("It is so.")) == ["f"]
    assert sourceless(rule.format("It is so (5.4.2).")) == []
