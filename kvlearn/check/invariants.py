"""The promises of Raft (paper, figure 3), checked against the story while it is told.

The checker rebuilds every node's log from the records (`Started` tells what the disk gave back,
`Appended` and `Truncated` the rest) and compares whenever a promise could be broken:

```
  BecameLeader   one leader a term?  does its log hold all that was committed before?
  Appended       the same entry as everywhere, after the same predecessor?
  Truncated      at a leader?
  Committed      the entry that others committed at this index?
  SnapshotInstalled, StateLoaded   of what others committed and applied there?  not going back?
  Applied        the command, revision and refusal that others got at this index?  in order?
  Returned       was the acknowledged write applied?  from now on its index must keep it
```

Heartbeats, votes and packets are not looked at, so they cost nothing. What the checker remembers
(who led which term, what was committed first) are history variables: no node keeps them.

>>> from kvlearn.events import BecameLeader
>>> from kvlearn.raft.types import ZERO
>>> trace = Trace(seed=7)
>>> for time, node in (0.5, "n1"), (0.75, "n3"):
...     _ = trace.add(time, node, BecameLeader(2, (node,), ZERO), None)
>>> print(invariants(trace)["Election Safety"])  # doctest: +NORMALIZE_WHITESPACE
Election Safety is broken: n1 (record 0) and n3 both became leader in term 2, and a term has
at most one leader [record 1, 0.750000 s, n3] (seed 7)

Source: paper 5.2, 5.3, 5.4, figure 3; etcd tests/robustness/validate (one error per promise).
Differs: the paper proves these promises of an algorithm; this looks whether a run kept them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from kvlearn.check.verdict import Verdict, Verdicts
from kvlearn.events import (
    Appended,
    Applied,
    BecameCandidate,
    BecameFollower,
    BecameLeader,
    Committed,
    Invoked,
    Returned,
    SnapshotInstalled,
    Started,
    StateLoaded,
    Truncated,
    Wiped,
)
from kvlearn.kv.kinds import in_log
from kvlearn.kv.requests import Command
from kvlearn.raft.types import Entry
from kvlearn.trace import Record, Trace

ELECTION_SAFETY = "Election Safety"
APPEND_ONLY = "Leader Append-Only"
LOG_MATCHING = "Log Matching"
COMPLETENESS = "Leader Completeness"
MACHINE_SAFETY = "State Machine Safety"
DURABILITY = "Durability"  # of acknowledged writes

SECTIONS = {  # promise -> where the paper makes it
    ELECTION_SAFETY: "5.2",
    APPEND_ONLY: "5.3",
    LOG_MATCHING: "5.3",
    COMPLETENESS: "5.4",
    MACHINE_SAFETY: "5.4.3",
    DURABILITY: "5.3",  # "committed entries are durable"
}

HOLE = Entry(0, -1)  # stands where the story did not say what a log holds


class Member:
    """One node as the story tells it: its log, its term, what it leads, how far it has applied."""

    __slots__ = ("log", "term", "leads", "applied")

    def __init__(self) -> None:
        self.log: list[Entry] = []  # index k is at place k - 1
        self.term = 0
        self.leads = False
        self.applied = 0

    def copy(self) -> Member:
        """A copy that shares the entries, which are values."""
        twin = Member()
        twin.log = list(self.log)
        twin.term, twin.leads, twin.applied = self.term, self.leads, self.applied
        return twin


class Invariants:
    """The checker: a reader of one trace, and the first break of each promise.

    `broken` is the verdict on the promise that broke first, or None: cheap to look at between
    two steps. The checker holds plain data and no reference to the trace, so it can be copied
    (`copy.deepcopy`) together with a cluster and attached to the copy's trace.

    Invariant: the entry of an index in `_committed` is the first that any node committed there,
    and `_held[term]` knows what lay behind those in the leader's log when `term` was won.
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed
        self.broken: Verdict | None = None
        self._breaks: dict[str, Verdict] = {}  # promise -> its first break
        self._later: dict[str, int] = {}  # promise -> breaks after the first
        self._next = 0  # number of the first record that was not read yet
        self._members: dict[str, Member] = {}
        self._wiped: dict[str, float] = {}  # node -> when it last lost its disk
        # (index, term) -> the entry, its predecessor's term, the node where it appeared first
        self._entries: dict[tuple[int, int], tuple[Entry, int, str]] = {}
        self._leaders: dict[int, tuple[str, int]] = {}  # term -> leader, record
        self._held: dict[int, tuple[int, tuple[Entry, ...]]] = {}  # term -> index, entries after it
        self._top_term = 0  # the newest term that has had a leader
        self._cuts = 0  # tails that followers threw away
        self._committed: list[Entry] = []
        self._committed_by: list[tuple[str, int, int]] = []  # node, its term, record
        self._applied: dict[int, tuple[Applied, str]] = {}  # index -> first application, node
        self._places: dict[tuple[str, int], int] = {}  # (origin, op_id) -> index
        self._asked: dict[tuple[str, int], Any] = {}  # (node, op_id) -> write without answer yet
        self._kept: dict[int, tuple[Any, str, int]] = {}  # index -> command, client, record

    # Reading a trace --------------------------------------------------------------------------

    def _readers(self) -> dict[type, Callable[[Record], None]]:
        return {
            Started: self._on_started,
            Wiped: self._on_wiped,
            BecameFollower: self._on_stepped_back,
            BecameCandidate: self._on_stepped_back,
            BecameLeader: self._on_leader,
            Appended: self._on_appended,
            Truncated: self._on_truncated,
            SnapshotInstalled: self._on_snapshot,
            StateLoaded: self._on_loaded,
            Committed: self._on_committed,
            Applied: self._on_applied,
            Invoked: self._on_invoked,
            Returned: self._on_returned,
        }

    def attach(self, trace: Trace) -> Invariants:
        """Read what the trace holds (and was not read yet), then every new record as it comes."""
        self.read(trace)
        for kind, read in self._readers().items():
            trace.subscribe(read, kind)
        return self

    def detach(self, trace: Trace) -> None:
        """Read no more records of the trace."""
        for read in self._readers().values():
            trace.unsubscribe(read)

    def read(self, trace: Trace) -> Invariants:
        """Read the records of the trace that were not read yet."""
        self.seed = trace.seed
        readers = self._readers()
        for record in trace.of(*readers, start=self._next):
            readers[type(record.event)](record)
        self._next = max(self._next, len(trace))
        return self

    def verdicts(self) -> Verdicts:
        """A verdict on each promise, as far as the story has been told."""
        verdicts = []
        for promise, section in SECTIONS.items():
            first = self._breaks.get(promise)
            if first is None:
                first = Verdict(promise, True, self._why_kept(promise), None, section, self.seed)
            verdicts.append(replace(first, later=self._later.get(promise, 0)))
        return Verdicts(verdicts)

    def __deepcopy__(self, memo: dict) -> Invariants:
        """A copy that shares the entries, records and verdicts, which are values."""
        twin = Invariants.__new__(Invariants)
        memo[id(self)] = twin
        for name, part in vars(self).items():
            setattr(twin, name, part.copy() if isinstance(part, (dict, list)) else part)
        twin._members = {name: member.copy() for name, member in self._members.items()}
        return twin

    def __repr__(self) -> str:
        return repr(self.verdicts()).replace("Verdicts", "Invariants")

    # Verdicts ---------------------------------------------------------------------------------

    def _break(self, promise: str, record: Record, why: str) -> None:
        if promise in self._breaks:
            self._later[promise] = self._later.get(promise, 0) + 1
            return
        verdict = Verdict(promise, False, why, record, SECTIONS[promise], self.seed)
        self._breaks[promise] = verdict
        self.broken = self.broken or verdict

    def _why_kept(self, promise: str) -> str:
        match promise:
            case "Election Safety":
                return f"{count(len(self._leaders), 'term')} had a leader, and none had two"
            case "Leader Append-Only":
                return f"{count(self._cuts, 'tail')} of logs thrown away, and none of a leader's"
            case "Log Matching":
                entries = count(len(self._entries), "entry", "entries")
                return f"{entries} in {count(len(self._members), 'log')}, each everywhere the same"
            case "Leader Completeness":
                entries = count(len(self._committed), "committed entry", "committed entries")
                return f"{entries}, and every later leader had them"
            case "State Machine Safety":
                indices = count(len(self._applied), "index", "indices")
                return f"{indices} applied, each with the same outcome on every node"
        return f"{count(len(self._kept), 'acknowledged write')}, each still in its place"

    def _lost_disks(self) -> str:
        """What helps to understand a loss: who had lost the disk before."""
        if not self._wiped:
            return ""
        lost = ", ".join(f"{node} at {time:.3f} s" for node, time in sorted(self._wiped.items()))
        return f"; disks lost before: {lost}"

    # Nodes come and go ------------------------------------------------------------------------

    def _member(self, record: Record) -> Member:
        """The node of this record, which is hereby read."""
        self._next = record.seq + 1
        member = self._members.get(record.node)
        if member is None:
            member = self._members[record.node] = Member()
        return member

    def _on_started(self, record: Record) -> None:
        member, event = self._member(record), record.event
        member.term, member.leads, member.applied = event.term, False, event.applied
        member.log = [HOLE] * (event.base.index if event.base else 0)
        if event.entries:
            self._add_entries(record, member, event.entries)

    def _on_wiped(self, record: Record) -> None:
        self._next = record.seq + 1
        self._wiped[record.node] = record.time

    def _on_stepped_back(self, record: Record) -> None:
        member = self._member(record)
        member.term, member.leads = record.event.term, False

    # Elections --------------------------------------------------------------------------------

    def _on_leader(self, record: Record) -> None:
        member, node, term = self._member(record), record.node, record.event.term
        member.term, member.leads = term, True
        first, seq = self._leaders.setdefault(term, (node, record.seq))
        if first != node:
            why = f"{first} (record {seq}) and {node} both became leader in term {term}"
            self._break(ELECTION_SAFETY, record, f"{why}, and a term has at most one leader")
        self._top_term = max(self._top_term, term)
        known = len(self._committed)
        self._held[term] = (known, tuple(member.log[known:]))
        self._check_complete(record, member, term)
        self._check_kept(record, member, term)

    def _check_complete(self, record: Record, member: Member, term: int) -> None:
        """Does the new leader's log hold every entry that was committed in an earlier term?"""
        committed = self._committed
        log = member.log
        if log[: len(committed)] == committed:
            return
        for place, entry in enumerate(committed):
            if self._committed_by[place][1] >= term or entry is HOLE:
                continue
            mine = log[place] if place < len(log) else None
            if mine != entry and mine is not HOLE:
                self._incomplete(record, record.node, term, entry, place, mine)
                return

    def _incomplete(
        self, record: Record, leader: str, term: int, entry: Entry, place: int, mine: Entry | None
    ) -> None:
        by, in_term, seq = self._committed_by[place]
        it_had = f"it had {brief(mine)}" if mine else f"its log ended before index {entry.index}"
        why = (
            f"{leader} became leader of term {term} without {brief(entry)}, "
            f"which {by} committed in term {in_term} (record {seq}): {it_had}"
        )
        self._break(COMPLETENESS, record, why + self._lost_disks())

    def _check_kept(self, record: Record, member: Member, term: int) -> None:
        """Does the new leader's log hold every acknowledged write, in its place?"""
        log = member.log
        size = len(log)
        for index, (command, client, seq) in self._kept.items():
            mine = log[index - 1] if index <= size else None
            if mine is not None and (mine.data is command or mine.data == command):
                continue
            if mine is HOLE or self._commit_term(index) >= term:
                continue
            has = f"has {brief(mine)} at index {index}" if mine else f"has nothing at index {index}"
            why = (
                f"{record.node}, leader of term {term}, {has}, where {client}'s "
                f"{shorten(command)} was acknowledged (record {seq})"
            )
            self._break(DURABILITY, record, why + self._lost_disks())
            return

    def _commit_term(self, index: int) -> int:
        """The term in which the entry at `index` was committed first; 0 if nobody said so."""
        return self._committed_by[index - 1][1] if index <= len(self._committed_by) else 0

    # Logs -------------------------------------------------------------------------------------

    def _on_appended(self, record: Record) -> None:
        self._add_entries(record, self._member(record), record.event.entries)

    def _add_entries(self, record: Record, member: Member, entries: Sequence[Entry]) -> None:
        log, known = member.log, self._entries
        for entry in entries:
            if entry.index != len(log) + 1:
                self._misplaced(record, member, entry)
            before = log[-1].term if log else 0
            place = (entry.index, entry.term)
            seen = known.get(place)
            if seen is None:
                known[place] = (entry, before, record.node)
            elif seen[0] is not entry or seen[1] != before:
                if seen[0] == entry and (seen[1] == before or -1 in (seen[1], before)):
                    entry = seen[0]  # one object for one entry: later comparisons are quick
                else:
                    self._unlike(record, entry, before, *seen)
            log.append(entry)

    def _on_snapshot(self, record: Record) -> None:
        """A follower's log is replaced by what was committed, as far as the story told that."""
        member, last = self._member(record), record.event.last
        known = self._committed[: last.index]
        member.log = known + [HOLE] * (last.index - len(known))
        if len(known) < last.index or known[-1] is HOLE or known[-1].term == last.term:
            return
        node, _, seq = self._committed_by[last.index - 1]
        why = f"{record.node} takes over a snapshot of {last}, and {node} had committed"
        self._break(MACHINE_SAFETY, record, f"{why} {brief(known[-1])} (record {seq})")

    def _on_loaded(self, record: Record) -> None:
        """A state machine jumps ahead; it never goes back, and has what others had there."""
        member, event = self._member(record), record.event
        if event.index <= member.applied:
            why = f"{record.node} had applied index {member.applied}, and goes back to a state of"
            why += f" {event.index}@{event.term}: what was done in between is undone there"
            self._break(MACHINE_SAFETY, record, why)
        member.applied = event.index
        first, node = self._applied.get(event.index, (None, ""))
        if first is not None and first.revision != event.revision:
            why = f"the state of {event.index}@{event.term} brings {record.node} to revision "
            why += f"{event.revision}, and {node} was at revision {first.revision} there"
            self._break(MACHINE_SAFETY, record, why)

    def _misplaced(self, record: Record, member: Member, entry: Entry) -> None:
        """An entry that does not continue the log: it replaces a tail, or leaves a hole."""
        log, last = member.log, len(member.log)
        if entry.index > last:
            why = f"{record.node} appends {brief(entry)}, and its log ends at index {last}"
            self._break(LOG_MATCHING, record, f"{why}: an entry follows its predecessor")
            log.extend([HOLE] * (entry.index - 1 - last))
            return
        if member.leads:
            why = f"{record.node}, leader of term {member.term}, writes {brief(entry)}"
            self._break(APPEND_ONLY, record, f"{why} over {brief(log[entry.index - 1])}")
        del log[entry.index - 1 :]

    def _unlike(self, record: Record, entry: Entry, before: int, *seen: Any) -> None:
        """An entry that has the index and term of another, and is not like it."""
        other, other_before, node = seen
        where, index = f"{entry.index}@{entry.term}", entry.index
        if other != entry:
            why = (
                f"{record.node} has {shorten(entry.data)} at {where}, and {node} has "
                f"{shorten(other.data)}: entries of one index and term hold the same command"
            )
        else:
            why = (
                f"{where} follows {index - 1}@{before} on {record.node}, and "
                f"{index - 1}@{other_before} on {node}: logs that share an entry share all before"
            )
        self._break(LOG_MATCHING, record, why)

    def _on_truncated(self, record: Record) -> None:
        member, event = self._member(record), record.event
        self._cuts += 1
        if member.leads:
            gone = " ".join(str(entry) for entry in event.dropped)
            why = f"{record.node}, leader of term {member.term}, drops {gone} from its own log"
            self._break(APPEND_ONLY, record, why)
        del member.log[event.after :]

    # Commit and apply -------------------------------------------------------------------------

    def _on_committed(self, record: Record) -> None:
        member, event = self._member(record), record.event
        log, committed = member.log, self._committed
        if event.index > len(log) or log[event.index - 1].term not in (event.term, -1):
            self._commits_unknown(record, member)
            return
        for place in range(min(event.old, len(committed)), event.index):
            entry = log[place]
            if place < len(committed) and committed[place] is HOLE:
                committed[place] = entry
            elif place == len(committed):
                committed.append(entry)
                self._committed_by.append((record.node, member.term, record.seq))
                if member.term < self._top_term:
                    self._check_elected(record, entry, place)
            elif committed[place] is not entry and committed[place] != entry and entry is not HOLE:
                node, _, seq = self._committed_by[place]
                why = (
                    f"{record.node} commits {brief(entry)}, and {node} had committed "
                    f"{brief(committed[place])} (record {seq}): "
                    f"their state machines get different commands at index {place + 1}"
                )
                self._break(MACHINE_SAFETY, record, why)

    def _commits_unknown(self, record: Record, member: Member) -> None:
        event, size = record.event, len(member.log)
        it_has = f"its log ends at index {size}"
        if event.index <= size:
            it_has = f"its log has {brief(member.log[event.index - 1])} there"
        why = f"{record.node} commits {event.index}@{event.term}, and {it_has}"
        self._break(MACHINE_SAFETY, record, why)

    def _check_elected(self, record: Record, entry: Entry, place: int) -> None:
        """A commit of an old term, made late: do the leaders elected meanwhile hold the entry?"""
        in_term = self._committed_by[place][1]
        for term in sorted(self._held):
            start, tail = self._held[term]
            if term <= in_term or place < start:
                continue
            mine = tail[place - start] if place - start < len(tail) else None
            if mine != entry and mine is not HOLE:
                leader = self._leaders[term][0]
                self._incomplete(record, leader, term, entry, place, mine)

    def _on_applied(self, record: Record) -> None:
        member, event = self._member(record), record.event
        index = event.index
        if index != member.applied + 1:
            why = f"{record.node} applies index {index} right after index {member.applied}"
            self._break(MACHINE_SAFETY, record, f"{why}: each is applied once and in order")
        member.applied = index
        first = self._applied.get(index)
        if first is None:
            self._applied[index] = (event, record.node)
            self._note_place(event)
        elif first[0] != event:
            self._differs(record, *first)

    def _note_place(self, event: Applied) -> None:
        """Remember at which index a client's command was carried out first."""
        asked = operation(event.command)
        if asked is not None:
            self._places.setdefault(asked, event.index)

    def _differs(self, record: Record, first: Applied, node: str) -> None:
        """An application whose outcome is not that of another node at the same index."""
        event = record.event
        index, mine, theirs = event.index, applied_entry(event), applied_entry(first)
        if (event.term, event.command) != (first.term, first.command):
            why = f"{record.node} applies {mine} at index {index}, where {node} applied {theirs}"
        elif event.error != first.error:
            got, other = event.error or "carried it out", first.error or "carried it out"
            why = f"{record.node} applies {mine} and says: {got}; {node} said: {other}"
        else:
            why = (
                f"applying {mine} brings {record.node} to revision {event.revision}, "
                f"and it brought {node} to revision {first.revision}"
            )
        self._break(MACHINE_SAFETY, record, why)
        self._note_place(event)
        kept = self._kept.get(index)
        if kept is not None and kept[0] != event.command:
            command, client, seq = kept
            why = (
                f"{record.node} applies {mine} at index {index}, where {client}'s "
                f"{shorten(command)} was acknowledged (record {seq})"
            )
            self._break(DURABILITY, record, why + self._lost_disks())

    # Clients ----------------------------------------------------------------------------------

    def _on_invoked(self, record: Record) -> None:
        self._next = record.seq + 1
        event = record.event
        if in_log(event.request):
            self._asked[event.node, event.op_id] = event.request

    def _on_returned(self, record: Record) -> None:
        self._next = record.seq + 1
        event = record.event
        key = (event.node, event.op_id)
        request = self._asked.pop(key, None)
        if request is None or event.error or event.unknown:
            return
        index = self._places.get(key)
        if index is None:
            why = f"{record.node} was told by {event.node} that {shorten(request)} is done"
            self._break(DURABILITY, record, f"{why}, and no node has applied it")
            return
        first, node = self._applied[index]
        if operation(first.command) != key:
            why = f"{record.node} was told by {event.node} that {shorten(request)} is done"
            why += f" (index {index}), and {node} applied {applied_entry(first)} there"
            self._break(DURABILITY, record, why)
            return
        self._kept[index] = (first.command, record.node, record.seq)


def invariants(trace_or_cluster: Any) -> Verdicts:
    """The verdicts on a whole trace, or on the trace of a cluster."""
    return Invariants().read(getattr(trace_or_cluster, "trace", trace_or_cluster)).verdicts()


def operation(command: Any) -> tuple[str, int] | None:
    """Which client's operation a command carries out: the node that was asked, and its number."""
    return (command.origin, command.op_id) if isinstance(command, Command) else None


# Words --------------------------------------------------------------------------------------


def count(number: int, one: str, many: str = "") -> str:
    """`1 term`, `3 terms`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def shorten(command: Any, limit: int = 48) -> str:
    """A command's text, cut if it is long; a leader's own entry is a no-op."""
    text = "a no-op" if command is None else str(command)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def brief(entry: Entry) -> str:
    """An entry as sentences show it: `3@2 (put a=1)`."""
    return f"{entry.index}@{entry.term} ({shorten(entry.data)})"


def applied_entry(event: Applied) -> str:
    """What was applied, in the same form as `brief`."""
    return f"{event.index}@{event.term} ({shorten(event.command)})"
