"""What a user may look at in a simulated cluster: small read-only views of nodes, links, clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

from kvlearn.node import CONF
from kvlearn.raft.raft import FOLLOWER
from kvlearn.raft.types import ConfState, Entry, EntryID
from kvlearn.sim.host import Host
from kvlearn.sim.network import Links, span_of_seconds


def known_names(names: Iterable[str], all_names: Iterable[str]) -> None:
    """Raises: ValueError for a name that no node has."""
    for name in names:
        if name not in all_names:
            raise ValueError(f"there is no node {name!r}; the nodes are {', '.join(all_names)}")


class NodeView:
    """One node, as it is now; a node that is down shows what its disk holds."""

    def __init__(self, name: str, find: Callable[[str], Host]):
        self.name = name
        self._find = find  # anew each time: after a rewind another host stands there

    @property
    def _host(self) -> Host:
        return self._find(self.name)

    @property
    def alive(self) -> bool:
        """Whether its process exists; a paused one does."""
        return self._host.node is not None

    @property
    def paused(self) -> bool:
        return self._host.paused

    @property
    def role(self) -> str:
        """leader, candidate, follower, learner (no vote), outside (no member), paused or down."""
        if not self.alive:
            return "down"
        if self.paused:
            return "paused"
        node = self._host.node
        raft = node.raft
        if self.name in raft.conf.learners and raft.role == FOLLOWER:
            return "learner"
        return "outside" if node.is_outside and raft.role == FOLLOWER else raft.role

    @property
    def term(self) -> int:
        host = self._host
        return host.node.raft.term if host.node else host.disk.hard_state.term

    @property
    def vote(self) -> str | None:
        host = self._host
        return host.node.raft.vote if host.node else host.disk.hard_state.vote

    @property
    def leader(self) -> str | None:
        """Whom it believes to lead its term."""
        return self._host.node.raft.leader if self.alive else None

    @property
    def base(self) -> EntryID:
        """The entry before the first of `log`: 0@0, until the log is compacted."""
        host = self._host
        return host.node.raft.log.base if host.node else host.disk.base

    @property
    def log(self) -> tuple[Entry, ...]:
        """Its entries, oldest first."""
        host = self._host
        return tuple(host.node.raft.log.entries if host.node else host.disk.entries)

    @property
    def commit(self) -> int:
        """Its commit index; while it is down, as far as its disk can tell."""
        host = self._host
        if host.node is not None:
            return host.node.raft.log.committed
        return max(host.disk.hard_state.commit, self.applied)

    @property
    def applied(self) -> int:
        """The index of the last entry that its store has carried out."""
        host = self._host
        return host.node.machine.applied if host.node else host.disk.backend.get_meta("applied")

    @property
    def revision(self) -> int | None:
        """Its store's revision; None while it is down."""
        return self._host.node.machine.revision if self.alive else None

    @property
    def store(self):
        """Its multi-version store (`kvlearn.mvcc.store.Store`); None while it is down."""
        return self._host.node.machine.store if self.alive else None

    @property
    def leases(self) -> tuple[tuple, ...] | None:
        """(id, granted s, noted s, keys) of each lease that it knows; None while it is down."""
        if not self.alive:
            return None
        lessor = self._host.node.machine.lessor
        return tuple((*saved, *sorted(lessor.known(saved[0]).keys)) for saved in lessor.save())

    @property
    def conf(self) -> ConfState:
        """Who is a member, as far as it knows."""
        host = self._host
        return host.node.raft.conf if self.alive else host.disk.backend.get_meta(CONF, host.conf)

    @property
    def fsync_s(self) -> tuple[float, float]:
        """Shortest and longest time of an fsync of its disk, in virtual seconds."""
        return self._host.disk.fsync_s

    def row(self) -> dict[str, Any]:
        """Its line in `cluster.status()`."""
        log = self.log
        return {
            "node": self.name,
            "role": self.role,
            "term": self.term,
            "vote": self.vote,
            "leader": self.leader,
            "last": str(log[-1].id if log else self.base),
            "commit": self.commit,
            "applied": self.applied,
            "revision": self.revision,
        }

    def __repr__(self) -> str:
        row = self.row()
        return f"<{row.pop('node')}: " + ", ".join(f"{k} {v}" for k, v in row.items()) + ">"

    def _repr_html_(self) -> str:
        return _html_table([self.row()])


class Nodes(Mapping):
    """The nodes by name, in order."""

    def __init__(self, views: dict[str, NodeView]):
        self._views = views

    def __getitem__(self, name: str) -> NodeView:
        if name not in self._views:
            raise KeyError(f"there is no node {name!r}; the nodes are {', '.join(self._views)}")
        return self._views[name]

    def __iter__(self):
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        return "\n".join(repr(view) for view in self._views.values())

    def _repr_html_(self) -> str:
        return _html_table([view.row() for view in self._views.values()])


def _html_table(rows: list[dict[str, Any]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row.values()) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


class LinksView:
    """The links' settings; setting one is a verb of the cluster, which rewind repeats."""

    __slots__ = ("_find", "_change")

    def __init__(self, find: Callable[[], Links], change: Callable[[str, Any], None]):
        object.__setattr__(self, "_find", find)
        object.__setattr__(self, "_change", change)

    @property
    def _links(self) -> Links:
        return self._find()

    @property
    def latency_s(self) -> tuple[float, float]:
        return self._links.latency_s

    @property
    def loss(self) -> float:
        return self._links.loss

    @property
    def duplicate(self) -> float:
        return self._links.duplicate

    @property
    def reorder(self) -> float:
        return self._links.reorder

    def __setattr__(self, setting: str, new: Any) -> None:
        self._change(setting, new)

    def __repr__(self) -> str:
        return repr(self._links)


class ClockView:
    """A node's clock; setting its `rate` is a verb of the cluster."""

    __slots__ = ("_name", "_find", "_set_rate")

    def __init__(self, name: str, find: Callable[[str], Host], set_rate: Callable[[float], None]):
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_find", find)
        object.__setattr__(self, "_set_rate", set_rate)

    @property
    def _host(self) -> Host:
        return self._find(self._name)

    @property
    def rate(self) -> float:
        return self._host.own_clock.rate

    @property
    def shows(self) -> float:
        """Seconds since its node started, by this clock."""
        return self._host.own_clock.read(self._host.clock.now)

    def __setattr__(self, setting: str, new: Any) -> None:
        if setting != "rate":
            raise AttributeError(f"a clock has a rate, but no {setting!r}")
        self._set_rate(new)

    def __repr__(self) -> str:
        return f"<clock of {self._host.name}: shows {self.shows:.3f} s, rate {self.rate}>"


class DiskView:
    """A node's disk; setting its `fsync_s` is a verb of the cluster."""

    __slots__ = ("_name", "_find", "_set_fsync")

    def __init__(self, name: str, find: Callable[[str], Host], set_fsync: Callable[[Any], None]):
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_find", find)
        object.__setattr__(self, "_set_fsync", set_fsync)

    @property
    def _host(self) -> Host:
        return self._find(self._name)

    @property
    def fsync_s(self) -> tuple[float, float]:
        """Shortest and longest time of an fsync that begins from now on."""
        return self._host.disk.fsync_s

    @property
    def saving(self) -> bool:
        """Whether an fsync is under way: a crash now may tear what it writes."""
        return self._host.saving

    def __setattr__(self, setting: str, new: Any) -> None:
        if setting != "fsync_s":
            raise AttributeError(f"a disk has an fsync_s, but no {setting!r}")
        self._set_fsync(span_of_seconds("fsync_s", new))

    def __repr__(self) -> str:
        state = "saving" if self.saving else "idle"
        return f"<disk of {self._host.name}: fsync_s {self.fsync_s}, {state}>"
