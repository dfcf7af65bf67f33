"""What a panel asks about a run: why a mark is as it is, how a rule is written, what is promised.

Answers are plain data for JSON. They are made from the trace as far as the cursor stands, so they
are true of what the student looks at, not of what happened later. Whatever is asked, the answer is
a sentence: of what nobody can know it says so.
"""

from __future__ import annotations

import json
from time import monotonic
from typing import Any

from kvlearn import events as ev
from kvlearn.doors import door
from kvlearn.trace import Trace
from kvlearn.viz.moment import Timeline
from kvlearn.viz.store_fold import StoreMoment, look_store
from kvlearn.viz.verdicts import BROKEN, NOTHING, UNKNOWN, Lamp, lamps
from kvlearn.viz.why import (
    Why,
    rule_source,
    why,
    why_entry,
    why_key,
    why_lease,
    why_message,
    why_node,
    why_operation,
    why_txn,
    why_watch,
)
from kvlearn.viz.why_index import back
from kvlearn.viz.why_rules import because, section_of
from kvlearn.viz.why_store import OF_PROMISES

WHY_CHARS, CODE_CHARS, VERDICT_BYTES = 700, 2400, 3700  # an update is at most 4 KB
REST = 8  # after looking at all promises it does something else for so many times as long


class Desk:
    """Answers for one panel on one trace."""

    def __init__(self, trace: Trace, subject: Any):
        self.trace = trace
        self.subject = subject  # the cluster, or the trace itself
        self._timeline = Timeline(trace)
        self._judged = (-1, -1)  # era and length of what the lamps have seen
        self._rest_until = self.rest_s = 0.0  # when it may look again, how long that was to be
        self._lamps: tuple[Lamp, ...] = ()
        self._checked: dict[str, Any] = {}  # what `linearizable` said last

    def why(self, what: list, mark: int | None, cursor: int) -> dict[str, Any]:
        """Why the mark `what` is as it is after record `cursor`; see `_why` for its kinds."""
        cursor = min(cursor, len(self.trace) - 1)
        try:
            told = self._why(what, mark, cursor)
        except (LookupError, ValueError):
            told = self._of_record(what, mark, cursor)
        answer = {"sentence": told.sentence[:WHY_CHARS], "seq": told.seq, "rule": told.rule}
        return {**answer, "section": told.section, "url": told.link, "unruled": told.unruled}

    def _why(self, what: list, mark: int | None, cursor: int) -> Why:
        match what:
            case ["record", int(seq)] if 0 <= seq < len(self.trace):
                return why(self.trace, seq, cursor)
            case ["node", str(name)]:
                return why_node(self._timeline.at(cursor), name)
            case ["entry", str(name), int(index)]:
                return why_entry(self._timeline.at(cursor), name, index)
            case ["packet", int(number)]:
                moment = self._timeline.at(cursor)
                return why_message(moment, number)
            case ["operation", number]:
                return self._operation(int(number), cursor)
            case ["promise", str(name)]:
                return self._promise(name, cursor)
            case ["key" | "watch" | "lease" | "txn", *_]:
                return self._of_store(what, look_store(self.subject, seq=cursor))
        raise LookupError(what)

    def _of_record(self, what: list, mark: int | None, cursor: int) -> Why:
        """What the record tells with which the mark was drawn, where nothing else is known."""
        if mark is not None and 0 <= mark < len(self.trace):
            return why(self.trace, mark, cursor)
        named = " ".join(map(str, what)) or "what has no name"
        return because(f"Nothing is known of {named} after record {cursor}", None)

    def _operation(self, number: int, cursor: int) -> Why:
        """Its bar may be drawn before it was asked."""
        for asked in back(self.trace, len(self.trace) - 1, ev.Invoked):
            if asked.event.op_id == number and asked.seq > cursor:
                text = f"Operation {number} was not asked yet: that happens at {asked.time:.3f} s"
                return because(text, asked.seq, ev.Invoked)
        return why_operation(self.trace, number, cursor)

    @staticmethod
    def _of_store(what: list, store: StoreMoment) -> Why:
        match what:
            case ["key", _, int(main), int(sub)]:
                for change in store.changes:
                    if (change.at.main, change.at.sub) == (main, sub):
                        return why_key(store, change.kv.key, main)
            case ["watch", str(key)] if key[2:].isdecimal() and int(key[2:]) < len(store.watches):
                return why_watch(store, store.watches[int(key[2:])])
            case ["lease", id]:
                for life in reversed(store.leases):
                    if life.id == int(id):
                        return why_lease(store, life)
            case ["txn", int(index)]:
                for fork in reversed(store.forks):
                    if fork.index == index:
                        return why_txn(store, fork)
        raise LookupError(what)

    def _promise(self, name: str, cursor: int) -> Why:
        """As its lamp stood at the cursor: what all records say is true of the last one only."""
        if name == "Linearizability":
            return self._one_order(name, cursor)
        lamp = next((lamp for lamp in self._lamps if lamp.promise == name), None)
        upto = self._judged[1] - 1 if self._judged[0] == self.trace.era else -1
        if lamp is None or upto < 0:
            return because(f"{name} was not looked at yet", None)
        state, section = lamp.state_at(cursor), section_of(lamp.section)
        if state == BROKEN:
            text = f"{name} is broken by record {lamp.record}, at {lamp.time:.3f} s: {lamp.why}"
            return because(text, lamp.record, section=section, unruled=OF_PROMISES)
        if cursor > upto:
            text = f"{name} was not looked at yet beyond record {upto}"
        elif state == UNKNOWN:
            text = f"Nobody can tell whether {name} is kept: {lamp.why}"
        else:
            text = f"{name} {'had nothing to judge' if state == NOTHING else 'is kept'} "
            now = cursor == upto
            text += f"so far: {lamp.why}" if now else f"up to record {cursor}"
        return because(text, None, section=section, unruled=OF_PROMISES)

    def _one_order(self, name: str, cursor: int) -> Why:
        known = self._checked
        if not known or known["epoch"] != self.trace.era:
            return because(f"{name} was not looked at yet", None)
        section = "etcd guarantees"
        if known["seq"] is not None and known["seq"] <= cursor:
            return because(known["why"], known["seq"], section=section, unruled=OF_PROMISES)
        if cursor > known["upto"]:
            text = f"{name} was not looked at yet beyond record {known['upto']}"
        elif not known["ok"] and known["seq"] is None or cursor == known["upto"]:
            text = known["why"].split("\n")[0]
        else:
            text = f"{name} is kept up to record {cursor}"
        return because(text, None, section=section, unruled=OF_PROMISES)

    @staticmethod
    def rule(name: str) -> dict[str, Any]:
        """The code of a rule or a function, and where it stands."""
        try:
            told = rule_source(name)
        except KeyError:
            raise ValueError(f"no rule is called {name!r}") from None
        code = told.code
        if len(code) > CODE_CHARS:
            code = code[:CODE_CHARS] + " …"
        title, promise = told.title, told.promise[:400]
        return {"title": title, "promise": promise, "code": code, "where": told.where}

    # Promises -----------------------------------------------------------------------------------

    def verdicts(self, now: bool = False) -> dict[str, Any] | None:
        """A lamp for each promise, if there is news. Looking takes a while on a long trace, so it
        is done at most an eighth of the time; `now`: whatever it costs."""
        seen = (self.trace.era, len(self.trace))
        if seen == self._judged or (not now and monotonic() < self._rest_until):
            return None
        begun = monotonic()
        self._lamps = lamps(self.trace)
        self._judged = seen
        self.rest_s = REST * (monotonic() - begun)
        self._rest_until = monotonic() + self.rest_s
        for most in (300, 120, 60, 0):
            told = {
                "epoch": seen[0],
                "upto": seen[1] - 1,
                "list": [_lamp(lamp, most) for lamp in self._lamps],
            }
            if len(json.dumps(told)) < VERDICT_BYTES:
                break
        return told

    def linearizable(self) -> dict[str, Any]:
        """Whether one order of the clients' operations explains every answer, as a lamp."""
        verdict = door("linearizable")(self.trace)
        seq = getattr(verdict, "record", None)
        told = {"ok": bool(verdict.ok), "seq": seq, "why": str(verdict)[:WHY_CHARS]}
        self._checked = {**told, "epoch": self.trace.era, "upto": len(self.trace) - 1}
        return self._checked


def _lamp(lamp: Any, most: int) -> list:
    """What the panel shows of a lamp, in words of at most `most` characters; a broken one's words
    are worth more."""
    words = lamp.why[: max(most, 120) if lamp.record is not None else most]
    ways = [lamp.group, lamp.promise, lamp.section, lamp.state, lamp.record, words]
    return [*ways, lamp.since]
