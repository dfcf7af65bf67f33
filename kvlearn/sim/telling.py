"""How a transcript tells what happened: a line a record, a node, a log.

Messages are told once, where they end:

    n1→n2 App 1@1→2@1          a message arrived; what it led to is indented below
    n1→n2 App 1@1→2@1 …        it left and is still on its way
    n1→n2 App 1@1→2@1 ✗ cut    it is lost, and why

A log reads `n1: 1@1 2@1(put a=1) | 3@1*`: what stands before `|` is committed, as far as the node
knows, and `*` marks what is not on its disk yet. `n1: (7@2) 8@2 |`: up to 7@2 it is compacted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from kvlearn.events import (
    Appended,
    BecameFollower,
    Dropped,
    Progressed,
    Received,
    Returned,
    Saved,
    Sent,
)
from kvlearn.raft.progress import SNAPSHOT
from kvlearn.sim.bench import HandHost
from kvlearn.trace import Record

APART = (Saved, Sent, Returned)  # not indented below the message that led to them
FATES = {"CUT": "cut", "BY_HAND": "dropped"}  # reason code -> the word behind ✗


def tell(records: Iterable[Record], hidden: Iterable[type] = (Progressed,)) -> list[str]:
    """What happened, a line a record. A message is told when it arrives or is lost; where it only
    leaves, it is marked as being on its way."""
    records, hidden = list(records), set(hidden)
    ended = {r.event.packet for r in records if isinstance(r.event, (Received, Dropped))}
    lines = []
    arrival: int | None = None  # the record of the message whose effects are being told
    for record in records:
        line = "" if type(record.event) in hidden else _line(record, ended)
        if isinstance(record.event, Received):
            arrival = record.seq if line else None
        elif arrival is None or record.cause != arrival or isinstance(record.event, APART):
            arrival = None
        elif line:
            line = f"  {line}"
        if line:
            lines.append(line)
    return lines


def _line(record: Record, ended: set[int]) -> str:
    """One record; "" if it is not worth a line."""
    match record.event:
        case Sent(message=message, packet=packet):
            return "" if packet in ended else f"{link(message)} {message} …"
        case Received(message=message):
            return f"{link(message)} {message}"
        case Dropped(message=message, reason=reason):
            fate = FATES.get(reason) or f"{message.target} is down"
            return f"{link(message)} {message} ✗ {fate}"
        case Appended(entries=entries) if len(entries) > 1:
            return f"{record.node} appends {' '.join(map(cell, entries))}"
        case BecameFollower(reason="STARTED"):
            return ""
    return str(record)


def cell(entry: Any) -> str:
    """An entry among others: its id, and its command if it has one."""
    return str(entry.id) if entry.data is None else str(entry)


def link(message: Any) -> str:
    """`n1→n2`."""
    return f"{message.source}→{message.target}"


def status_line(host: HandHost) -> str:
    """One line on a node: what it believes, or, while it is down, what its disk holds."""
    if host.node is None:
        hard = host.disk.hard_state
        last = host.disk.last
        return f"{host.name} down: term {hard.term}, vote {hard.vote or '-'}, log to {last}"
    raft, machine = host.node.raft, host.node.machine
    role = f"{raft.role}{' (paused)' if host.paused else ''}"
    if raft.role == "follower" and host.name in raft.conf.learners:
        role = f"learner{role[8:]}"
    elif raft.role == "follower" and host.node.is_outside:
        role = f"outside{role[8:]}"
    of = "" if raft.leader in (None, host.name) else f" of {raft.leader}"
    if role.startswith("outside") and of:
        of = f", hears {raft.leader}"
    log = raft.log
    return (
        f"{host.name} {role}{of}: term {raft.term}, vote {raft.vote or '-'}, log to {log.last}, "
        f"commit {log.committed}, applied {machine.applied}, revision {machine.revision}"
    )


def log_line(host: HandHost) -> str:
    """A node's log, or what its disk holds of it."""
    disk = host.disk
    saved = {entry.id for entry in disk.entries}
    log = host.node.raft.log if host.node else None
    entries, base = (log.entries, log.base) if log else (disk.entries, disk.base)
    commit = log.committed if log else min(disk.hard_state.commit, disk.last.index)
    cells = [cell(entry) + ("" if entry.id in saved else "*") for entry in entries]
    cells.insert(max(commit - base.index, 0), "|")
    if base.index:
        cells.insert(0, f"({base})")
    return f"{host.name}{'' if host.node else ' (down)'}: {' '.join(cells)}"


def progress_line(host: HandHost, peer: str) -> str:
    """What a leader knows of a follower: how far it has come, and what is on its way to it."""
    progress = host.node.raft.progress[peer]
    line = f"{host.name} on {peer}: {progress}"
    if progress.state == SNAPSHOT:
        return f"{line}, gets the snapshot of {progress.snapshot.last}"
    if progress.inflight:
        full = "" if progress.may_send() else ", and no more may leave"
        return f"{line}, {len(progress.inflight)} on their way{full}"
    return line if progress.may_send() else f"{line}, waits for an answer"


def guess(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
