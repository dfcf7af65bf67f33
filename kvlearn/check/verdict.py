"""What a checker says: a verdict a promise, one true sentence each.

>>> kept = Verdict("Election Safety", True, "4 terms had a leader, and none had two", section="5.2")
>>> print(kept)
Election Safety is kept: 4 terms had a leader, and none had two
>>> Verdicts([kept]).ok
True
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import escape

from kvlearn.errors import Violation
from kvlearn.trace import Record
from kvlearn.values import value


@value
class Verdict:
    """Whether one promise was kept. `why` is a sentence with the numbers that decide it.

    `record` is the first record that broke the promise, `later` the number of breaks after it.
    `section` is the place in the paper (or thesis) that makes the promise.
    """

    promise: str
    ok: bool
    why: str
    record: Record | None = None
    section: str = ""
    seed: int | None = None
    later: int = 0

    def violation(self) -> Violation:
        """The error to raise for a broken promise."""
        return Violation(self.promise, self.why, self.record, self.seed)

    def __str__(self) -> str:
        if self.ok:
            return f"{self.promise} is kept: {self.why}"
        text = f"{self.promise} is broken: {self.why}"
        if self.record is not None:
            text += f" [record {self.record.seq}, {self.record.time:.6f} s, {self.record.node}]"
        if self.seed is not None:
            text += f" (seed {self.seed})"
        if self.later:
            text += f"; broken {self.later} time{'s' * (self.later > 1)} more later on"
        return text

    def __repr__(self) -> str:
        return f"<{self}>"

    def _repr_html_(self) -> str:
        return Verdicts([self])._repr_html_()


class Verdicts:
    """The verdicts of one check, in the order in which the paper makes the promises.

    Behaves as a list; `verdicts["Log Matching"]` finds one by the promise's name.
    """

    def __init__(self, verdicts: Iterable[Verdict]):
        self._verdicts = list(verdicts)

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return all(verdict.ok for verdict in self._verdicts)

    @property
    def broken(self) -> list[Verdict]:
        """The broken promises, the one that broke first in front."""
        broken = [verdict for verdict in self._verdicts if not verdict.ok]
        return sorted(broken, key=lambda verdict: verdict.record.seq if verdict.record else 0)

    def raise_if_broken(self) -> None:
        """Do nothing if all promises were kept.

        Raises: Violation of the promise that broke first.
        """
        for verdict in self.broken:
            raise verdict.violation()

    def __add__(self, others: Verdicts) -> Verdicts:
        return Verdicts([*self, *others])

    def __len__(self) -> int:
        return len(self._verdicts)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self._verdicts)

    def __getitem__(self, which: int | slice | str):
        if isinstance(which, str):
            for verdict in self._verdicts:
                if verdict.promise == which:
                    return verdict
            known = ", ".join(verdict.promise for verdict in self._verdicts)
            raise KeyError(f"no verdict on {which!r}; there are: {known}")
        return self._verdicts[which]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verdicts) and self._verdicts == other._verdicts

    __hash__ = None  # it is a list

    def __str__(self) -> str:
        return "\n".join(map(str, self._verdicts))

    def __repr__(self) -> str:
        broken = [verdict.promise for verdict in self.broken]
        what = f"broken: {', '.join(broken)}" if broken else "all kept"
        return f"<Verdicts on {len(self)} promises, {what}>"

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = []
        for verdict in self._verdicts:
            mark = "✓ kept" if verdict.ok else "<b>✗ broken</b>"
            why = str(verdict).split(": ", 1)[1]
            rows.append(
                f"<tr><td {left}>{escape(verdict.promise)}</td><td {left}>{mark}</td>"
                f"<td {left}>{escape(why)}</td><td>{escape(verdict.section)}</td></tr>"
            )
        head = "".join(f"<th {left}>{name}</th>" for name in ("promise", "", "why", "paper"))
        return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def verdicts_on(
    breaks: dict[str, list[Verdict]], kept: dict[str, str], section: str, seed: int | None
) -> Verdicts:
    """A verdict on each promise: of its breaks the first, which counts the others, or the sentence
    that says why it is `kept`."""
    verdicts = []
    for promise, broken in breaks.items():
        if broken:
            first = min(broken, key=lambda verdict: verdict.record.seq)
            verdicts.append(replace(first, later=len(broken) - 1))
        else:
            verdicts.append(Verdict(promise, True, kept[promise], None, section, seed))
    return Verdicts(verdicts)
