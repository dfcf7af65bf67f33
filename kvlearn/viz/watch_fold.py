"""What each watcher asked for, what it was told, and how far it is.

A watcher is known by its stream and its number on it. When its client goes on at another node, the
stream keeps its name, and the picture keeps its lane.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from kvlearn import events as ev
from kvlearn.kv.requests import interval
from kvlearn.kv.watches import WatchCancel, WatchCreate
from kvlearn.mvcc.store import FROM_KEY
from kvlearn.mvcc.watch import NO_ID, KVEvent, WatchResponse
from kvlearn.trace import Record


class Told(NamedTuple):
    """An event that reached the stream."""

    event: KVEvent
    node: str
    time: float
    times: int = 1  # how often it was told: once, if all is well
    wrong: str = ""  # why it should not have been told so; "": all is well

    @property
    def revision(self) -> int:
        """The main revision of the change."""
        return self.event.kv.mod_revision


class Served(NamedTuple):
    """From the watcher's position `after` on, `node` serves it."""

    node: str
    after: int
    time: float


class WatchLife(NamedTuple):
    """One watcher at the cursor. `position`: it was told all up to this revision, as far as the
    trace says; `behind`, `pale` and `missed` are places in the store's list of changes."""

    stream: str
    watch_id: int
    request: WatchCreate
    first: int  # the first revision that it wants
    told: tuple[Told, ...]
    progress: tuple[int, ...]  # revisions that it heard of without an event
    position: int
    served: tuple[Served, ...]
    end: str  # "": it goes on; else why it ended, in words
    lost: str  # "": somebody serves it; else why nobody does
    behind: tuple[int, ...]  # changes that its node has and it has not heard of
    pale: tuple[int, ...]  # changes that its filters kept away
    missed: tuple[int, ...]  # changes that were passed over: a broken promise

    @property
    def name(self) -> str:
        """`c1/w1`, with the watcher's number where it is not the stream's first."""
        return self.stream + (f" #{self.watch_id}" if self.watch_id > 0 else "")

    @property
    def what(self) -> str:
        """What it watches, in words."""
        return interval(self.request.key, self.request.range_end)

    @property
    def state(self) -> str:
        """synced, behind, waiting (nobody serves it) or ended."""
        return (
            "ended"
            if self.end
            else "waiting"
            if self.lost
            else ("behind" if self.behind else "synced")
        )


class _Life:
    def __init__(self, stream: str, request: WatchCreate, record: Record):
        self.stream, self.request, self.id = stream, request, request.watch_id
        asked = record.event.revision
        self.first = request.start_revision if request.start_revision > 0 else asked + 1
        self.position = self.first - 1
        self.told: dict[tuple[bytes, int], Told] = {}
        self.progress: list[int] = []
        self.newest = 0  # the newest revision of which it was told
        self.served = [Served(record.node, self.position, record.time)]
        self.end = self.lost = ""
        self.created = self.again = False  # again: told the same event once more
        self.asked = record.time

    @property
    def name(self) -> str:
        return self.stream + (f" #{self.id}" if self.id > 0 else "")

    @property
    def node(self) -> str:
        return self.served[-1].node

    def covers(self, key: bytes) -> bool:
        start, end = self.request.key, self.request.range_end
        return key == start if not end else start <= key and (end == FROM_KEY or key < end)

    def fault(self, told: Told, made: dict) -> str:
        """Why an event should not have reached this watcher, in few words; `made` has the record
        of each (key, revision) and the one before it."""
        kv, prev_kv = told.event.kv, told.event.prev_kv
        wrote, before = made.get((kv.key, told.revision), (kv, prev_kv))
        if not self.covers(kv.key):
            return "not one of its keys"
        if told.revision < self.first:
            return f"before its start at {self.first}"
        if told.event.type in self.request.filters:
            return f"its filter keeps {told.event.type} events away"
        if wrote != kv:
            return "not what the store wrote then"
        if prev_kv is not None and prev_kv != before:
            return "not what was there before"
        return told.wrong


class WatchFold:
    """Watchers, record by record."""

    KINDS = (ev.WatchAsked, ev.Notified, ev.StreamClosed, ev.Crashed)

    def __init__(self) -> None:
        self.watchers: list[_Life] = []  # in the order in which they were asked for

    def take(self, record: Record) -> None:
        """Go on by one record."""
        match record.event:
            case ev.WatchAsked(stream=stream, request=WatchCreate() as request):
                self._asked(record, stream, request)
            case ev.WatchAsked(stream=stream, request=WatchCancel(id)):
                for life in self._of(stream, record.node):
                    if life.id == id and not life.end:
                        life.end = "cancelled by its client"
            case ev.Notified(stream=stream, response=WatchResponse() as response):
                self._notified(record, stream, response)
            case ev.StreamClosed(stream=stream):
                for life in self._of(stream, record.node):
                    life.lost = "its client is gone"
            case ev.Crashed():
                for life in self.watchers:
                    if life.node == record.node and not life.end:
                        life.lost = f"{record.node} crashed"

    def lives(self, changes: tuple, revisions: dict[str, int]) -> tuple[WatchLife, ...]:
        """All watchers, in the order in which they were asked for."""
        made, last = {}, {}
        for change in changes:
            kv = change.kv
            made[kv.key, change.revision] = (kv, last.get(kv.key))
            last[kv.key] = kv if kv.version else None
        return tuple(self._life(life, changes, made, revisions) for life in self.watchers)

    # Within -----------------------------------------------------------------------------------

    def _of(self, stream: str, node: str) -> list[_Life]:
        return [life for life in self.watchers if life.stream == stream and life.node == node]

    def _asked(self, record: Record, stream: str, request: WatchCreate) -> None:
        wants = (request.key, request.range_end)
        for life in self.watchers:
            same = life.stream == stream and (life.request.key, life.request.range_end) == wants
            if same and not life.end and (life.lost or life.node != record.node):
                life.served.append(Served(record.node, life.position, record.time))
                life.lost, life.created = "", False
                return
        self.watchers.append(_Life(stream, request, record))

    def _notified(self, record: Record, stream: str, response: WatchResponse) -> None:
        lives = self._of(stream, record.node)
        if response.created:
            self._created(lives, response)
            return
        for life in lives:
            if life.end and not response.canceled:
                continue
            if response.watch_id == NO_ID or response.watch_id == life.id:
                _tell(life, record, response)

    def _created(self, lives: list[_Life], response: WatchResponse) -> None:
        waiting = [life for life in lives if not life.created and not life.end]
        if not waiting:
            return
        life = waiting[0]
        life.created = True
        if response.canceled:
            life.end = f"refused: {response.cancel_reason}"
            return
        life.id = response.watch_id
        if life.request.start_revision <= 0 and not life.told and len(life.served) == 1:
            life.first, life.position = response.revision + 1, response.revision

    def _life(self, life: _Life, changes: tuple, made: dict, revisions: dict) -> WatchLife:
        behind, pale, missed = [], [], []
        upto = revisions.get(life.node, 0)
        for place, change in enumerate(changes):
            revision, key = change.revision, change.kv.key
            if revision < life.first or revision > upto or not life.covers(key):
                continue
            type = "delete" if change.kind == "delete" else "put"
            if (key, revision) in life.told:
                continue
            if type in life.request.filters:
                pale.append(place)
            elif revision > life.position:
                behind.append(place)
            elif not change.removed or revision < change.removed:  # else it was swept away before
                missed.append(place)
        if life.end:
            behind, pale = [], [p for p in pale if changes[p].revision <= life.position]
        told = tuple(one._replace(wrong=life.fault(one, made)) for one in life.told.values())
        return WatchLife(
            life.stream,
            life.id,
            life.request,
            life.first,
            told,
            tuple(life.progress),
            life.position,
            tuple(life.served),
            life.end,
            life.lost,
            tuple(behind),
            tuple(pale),
            tuple(missed),
        )


def _tell(life: _Life, record: Record, response: WatchResponse) -> None:
    if response.canceled:
        at = response.compact_revision
        life.end = f"compacted at {at}" if at else life.end or _reason(response.cancel_reason)
        return
    for event in response.events:
        known = (event.kv.key, event.kv.mod_revision)
        if known in life.told:
            life.told[known] = life.told[known]._replace(times=life.told[known].times + 1)
            life.again = True
        else:
            late = f"after {life.newest}" if event.kv.mod_revision < life.newest else ""
            life.newest = max(life.newest, event.kv.mod_revision)
            life.told[known] = Told(event, record.node, record.time, wrong=late)
    if response.events:
        newest = max(event.kv.mod_revision for event in response.events)
        life.position = max(life.position, newest - 1 if response.fragment else newest)
    elif response.revision >= life.first - 1:
        life.progress.append(response.revision)
        life.position = max(life.position, response.revision)


def _reason(told: str) -> str:
    return f"cancelled: {told}" if told else "cancelled"


def words(lives: Iterable[WatchLife]) -> dict[str, int]:
    """How many watchers are in each state."""
    counted: dict[str, Any] = {}
    for life in lives:
        counted[life.state] = counted.get(life.state, 0) + 1
    return counted
