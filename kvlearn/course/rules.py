"""The rules of Raft as the course shows them: `show(Raft.may_commit)`, `blank(Raft, "may_commit")`.

What is shown is read from the running code (source, docstring, who asks), so a lesson can never
disagree with it. `GUARDS` adds the promise that each rule guards.

>>> show(Raft.may_commit)  # doctest: +ELLIPSIS
Raft.may_commit: Counting commits only entries of the leader's own term.
  Source: paper 5.4.2, figure 8. Guards: Leader Completeness. Asked by: `_maybe_commit`.
      def may_commit(self, index: Index) -> bool:
          return self.log.term(index) == self.term
  kvlearn/raft/rules.py, line ...
>>> Your = blank(Raft, "may_commit")
>>> Your.may_commit(None, 4)
Traceback (most recent call last):
kvlearn.errors.Blank: may_commit is not written yet. Counting commits only entries of the leader's \
own term (5.4.2, figure 8).
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import textwrap
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from kvlearn.course.page import BLOCK, COLOURS, MONO, Card, Code, Fold, Words
from kvlearn.errors import Blank
from kvlearn.lease import Lessor
from kvlearn.mvcc.watch import WatchHub
from kvlearn.raft import admission
from kvlearn.raft.raft import Raft
from kvlearn.raft.rules import Rules

GUARDS = {  # rule -> the promise that breaks without it
    "may_vote_for": "Election Safety",
    "hard_state": "one vote in a term, also after a crash (Election Safety)",
    "is_up_to_date": "Leader Completeness",
    "election_result": "Election Safety",
    "log_matches": "Log Matching",
    "store_entries": "an acknowledged write is never lost",
    "quorum_index": "Leader Completeness",
    "may_commit": "Leader Completeness",
    "commit_for": "State Machine Safety",
    "own_match": "an acknowledged write is never lost",
    "may_read": "no read is stale",
    "read_quorum": "no read is stale",
    "holds_lease": "no read is stale",
    "in_lease": "Leader Stability: a leader that is heard keeps its term",
    "quorum_active": "Leader Activity: a leader that nobody answers gives up its term",
    "may_reconfigure": "Election Safety",
    "wants_snapshot": "State Machine Safety",
}
HUB_GUARDS = {  # the same for watches
    "starts_at": "Resumable",
    "is_synced": "Reliable",
    "is_due": "Start and Filters",
    "next_after": "Unique",
    "stands_at": "Reliable",
    "has_lost": "Reliable",
    "history": "Ordered",
    "wants": "Start and Filters",
    "before": "Start and Filters",
    "parts": "Atomic",
    "may_tell_progress": "Bookmarkable",
}
LESSOR_GUARDS = {  # and for leases
    "is_expired": "Lease Safety",
    "may_renew": "Lease Safety",
    "renewed_until": "Lease Expiry",
    "time_of": "Lease Safety and Lease Expiry",
    "lets_go": "One Revision",
    "goes_with": "One Revision",
}
# Classes that have rules.
KINDS = {Raft: GUARDS, WatchHub: HUB_GUARDS, Lessor: LESSOR_GUARDS}


def show(thing: Any, reference: bool = True) -> Any:
    """Show a rule (`Raft.may_commit`), a class beside the one that it changes, or any function.

    `reference=False` shows of a class its own lines only: how it should be is not told.
    What shows itself (a cluster) is asked to do so. Raises: TypeError for what has no source.
    """
    if isinstance(thing, type):
        return _class_card(thing, reference)
    if inspect.isfunction(thing) or inspect.ismethod(thing):
        return _function_card(thing)
    if hasattr(thing, "show"):
        return thing.show()
    raise TypeError(f"show takes a rule, a class, a function or a cluster, not {thing!r}")


def kind_of(cls: type) -> type | None:
    """Of which class with rules it is a kind: Raft, WatchHub, Lessor, or none."""
    return next((kind for kind in KINDS if issubclass(cls, kind)), None)


def blank(base: type, *rules: str) -> type:
    """`base` without these rules: each raises `Blank` until a class derived from it fills it in.

    Raises: ValueError for a name that is no rule.
    """
    guards = KINDS[kind_of(base) or Raft]
    for rule in rules:
        if rule not in guards:
            raise ValueError(f"{rule!r} is no rule; the rules are {', '.join(guards)}")
    methods = {rule: _empty(rule, getattr(base, rule)) for rule in rules}
    return type(f"Blank{base.__name__}", (base,), {**methods, "__doc__": base.__doc__})


def _empty(name: str, rule: Callable) -> Callable:
    def not_written(self, *_) -> Any:
        raise Blank(f"{name} is not written yet. {inspect.getdoc(rule)}")

    not_written.__name__ = name
    not_written.__doc__ = rule.__doc__
    not_written.__signature__ = inspect.signature(rule)
    return not_written


# What a rule says of itself -----------------------------------------------------------------


def sentence_of(rule: Callable) -> str:
    """The rule in one sentence, without its source."""
    first = (inspect.getdoc(rule) or "").split("\n\n")[0].replace("\n", " ")
    return re.sub(r"\s*\([^()]*\)\.$", ".", first)


def section_of(rule: Callable) -> str:
    """Where it comes from: `paper 5.4.2, figure 8`, or nothing.

    >>> section_of(Raft.read_quorum), section_of(Raft.own_match)
    ('thesis 6.4, step 3', 'thesis 10.2.1')
    """
    first = (inspect.getdoc(rule) or "").split("\n\n")[0]
    found = re.search(r"\(([^()]*)\)\.$", first)
    section = found.group(1).replace("\n", " ") if found else ""
    if not section[:1].isdigit():
        return section
    # The paper's sections 4 and 6 have no parts: 4.1 and 6.4 are the thesis'.
    return f"{'thesis' if section.startswith(('4.', '6.')) else 'paper'} {section}"


def asked_by(cls: type, name: str) -> list[str]:
    """The methods of `cls` that ask the rule, in the order of its source."""
    found = []
    for place in (*cls.__mro__, admission):
        if place is object:
            continue
        for part in ast.walk(ast.parse(textwrap.dedent(source_of(place)))):
            if isinstance(part, ast.FunctionDef) and part.name != name and _asks(part, name):
                found.append(part.name)
    return list(dict.fromkeys(found))


def _asks(function: ast.FunctionDef, name: str) -> bool:
    return any(
        isinstance(part, ast.Attribute)
        and part.attr == name
        and isinstance(part.value, ast.Name)
        and part.value.id in ("self", "raft")
        for part in ast.walk(function)
    )


def source_of(thing: Any) -> str:
    """Its lines of Python, dedented; empty where Python does not know them."""
    try:
        return textwrap.dedent(inspect.getsource(thing)).rstrip()
    except (OSError, TypeError):
        return ""


def _bare(source: str) -> str:
    """The source of a function without its docstring, which stands above it."""
    try:
        body = ast.parse(source).body[0].body
    except (SyntaxError, IndexError, AttributeError):
        return source
    if len(body) < 2 or ast.get_docstring(ast.parse(source).body[0]) is None:
        return source
    lines = source.splitlines()
    del lines[body[0].lineno - 1 : body[0].end_lineno]
    return "\n".join(lines)


def _place(thing: Any) -> str:
    """`kvlearn/raft/raft.py, line 520`; empty for what stands in a notebook."""
    try:
        path = Path(inspect.getsourcefile(thing) or "")
        line = inspect.getsourcelines(thing)[1]
    except (OSError, TypeError):
        return ""
    parts = path.parts
    if "kvlearn" not in parts:
        return ""
    last = len(parts) - 1 - parts[::-1].index("kvlearn")
    return f"{'/'.join(parts[last:])}, line {line}"


def _owner(function: Callable) -> type | None:
    """The class in whose body the function was written, if it is one with rules or derived from
    one."""
    name = function.__qualname__.rpartition(".")[0].rpartition(".")[2]
    kinds = list(KINDS)
    if vars(Rules).get(function.__name__) is function:
        return Raft
    for kind in kinds:  # grows while it is walked
        if kind.__name__ == name and vars(kind).get(function.__name__) is function:
            return kind
        kinds.extend(kind.__subclasses__())
    return None


def _function_card(function: Callable) -> Card:
    owner, name = _owner(function), function.__name__
    said = sentence_of(function)
    where = f"{owner.__name__}.{name}" if owner else name
    title = f"{where}: {said}" if said else where
    facts = []
    if section := section_of(function):
        facts.append(f"Source: {section}.")
    guards = KINDS[kind_of(owner)] if owner is not None else {}
    if name in guards:
        facts.append(f"Guards: {guards[name]}.")
    if owner is not None and (asking := asked_by(owner, name)):
        facts.append("Asked by: " + ", ".join(f"`{method}`" for method in asking) + ".")
    parts = [Words(" ".join(facts))] if facts else []
    parts.append(Code(_bare(source_of(function)) or "# its source is not known here"))
    if place := _place(function):
        parts.append(Words(place, dim=True))
    return Card("plain", title, parts)


# Classes ------------------------------------------------------------------------------------


def _class_card(cls: type, beside: bool) -> Card:
    base = cls.__mro__[1]
    said = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
    kind = kind_of(cls)
    guards = KINDS.get(kind, {})
    changed = [name for name in vars(cls) if name in guards and hasattr(base, name)]
    if not changed:
        source = source_of(cls) or "# its source is not known here"
        folded = Fold("its source", Code(source).html(), Code(source).text())
        return Card("plain", cls.__name__, [Words(said), folded])
    reference = _reference(cls, changed[0])
    parts = [Words(said)] if said and said != inspect.getdoc(base) else []
    for name in changed:
        before, after = (
            _bare(source_of(getattr(reference, name))),
            _bare(source_of(vars(cls)[name])),
        )
        facts = f"`{name}` guards: {guards[name]} ({section_of(getattr(kind, name))})."
        changes = Changes(before, after, reference.__name__, cls.__name__)
        parts += [Words(facts), changes if beside else Code(after)]
    return Card(
        "plain", f"{cls.__name__}: {reference.__name__} with another {' and '.join(changed)}", parts
    )


def _reference(cls: type, name: str) -> type:
    """The nearest base that has the rule in a form that can be read."""
    for base in cls.__mro__[1:]:
        if base is Rules:
            break  # the reference is Raft, wherever its rules are written
        if name in vars(base) and source_of(vars(base)[name]) and "Blank" not in base.__name__:
            return base
    return kind_of(cls) or Raft


class Changes:
    """Two versions of a function, line by line: `-` only in the first, `+` only in the second."""

    def __init__(self, before: str, after: str, first: str, second: str):
        self.lines: list[str] = []
        one, other = (
            [line for line in text.splitlines() if line.strip()] for text in (before, after)
        )
        for what, a, a_end, b, b_end in difflib.SequenceMatcher(None, one, other).get_opcodes():
            if what == "equal":
                self.lines += [f"  {line}" for line in one[a:a_end]]
            else:
                self.lines += [f"- {line}" for line in one[a:a_end]]
                self.lines += [f"+ {line}" for line in other[b:b_end]]
        self.first, self.second = first, second

    def html(self) -> str:
        """For a page."""
        told = ""
        for line in self.lines:
            tone = {"-": "dim", "+": "fault"}.get(line[0], "ink")
            who = {"-": self.first, "+": self.second}.get(line[0], "")
            struck = "text-decoration:line-through;" if line[0] == "-" else ""
            words = line[2:].lstrip()
            indent = line[: len(line) - len(words)]
            told += (
                f"<div style='color:{COLOURS[tone]}' title='{escape(who)}'>{escape(indent)}"
                f"<span style='{struck}'>{escape(words)}</span></div>"
            )
        style = (
            f"font-family:{MONO};font-size:var(--jp-code-font-size,13px);line-height:1.4;"
            f"background:{BLOCK};padding:8px 10px;margin:6px 0;overflow-x:auto;"
            "white-space:pre;border-radius:3px;"
        )
        return f"<div style='{style}'>{told}</div>" + Words(self._legend(), dim=True).html()

    def text(self) -> str:
        return textwrap.indent("\n".join(self.lines), "    ") + f"\n{self._legend()}"

    def _legend(self) -> str:
        return f"- only {self.first}, + only {self.second}"
