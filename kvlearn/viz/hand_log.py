"""What hands did in the present run, as lines of Python, and as one program that does it again.

A line knows the verb of the journal that it is. So the log is always that of the present run: what
was undone is not in it, and a future that is opened again has its own lines.

The program asks as the panel did, through an `Asker`: it waits for no answer, time goes on from
line to line as it did, and the trace comes out the same, byte for byte.

>>> from kvlearn import Cluster
>>> cluster = Cluster(3, seed=7)
>>> leader = cluster.wait_for_leader()
>>> client = Asker(cluster, leader)
>>> _ = client.put("a", "1")
>>> cluster.run(0.1)
>>> cluster.client().get("a").text
'1'
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from kvlearn.client import Client, Reply
from kvlearn.kv.requests import Header
from kvlearn.sim.channel import SimulatedChannel
from kvlearn.sim.journal import Journal, frozen

KEPT_LINES = 200  # of the log, for a page that opens later
PANEL = "panel"  # the name under which a panel asks
KEEPER = "panel-keep"  # who keeps leases alive: its answers are not those that the panel waits for
MOST_SAID = 4  # verbs of others that one comment names
ASKER = "from kvlearn.viz.hand_log import Asker"


class _Channel(SimulatedChannel):
    """A panel's way to a cluster."""

    def keep(self, lease: int, endpoint: str, every_s: float) -> None:
        self._do("keep", KEEPER, lease, self._chosen, endpoint, every_s)

    def unkeep(self, lease: int) -> None:
        if (KEEPER, lease) in self._clients.keepers:
            self._do("unkeep", KEEPER, lease)


class Asker(Client):
    """A client that asks under the panel's name and waits for nothing: what it returns is empty.

    `watches`: so many the panel has opened before, some perhaps in a future that was left.
    """

    def __init__(self, cluster: Any, node: str | None = None, watches: int | None = None):
        super().__init__(_Channel(cluster, node, PANEL))
        if watches is not None:
            cluster._clients.opened[PANEL] = watches

    def call(self, request: Any) -> Reply:
        """Ask; time stands still."""
        self.channel.cluster.submit(request, self.endpoint, PANEL)
        given = SimpleNamespace(id=getattr(request, "id", 0), ttl_s=getattr(request, "ttl_s", 1))
        return Reply(Header(), given)


@dataclass
class Line:
    """A line of Python that does what was done at `time`, in virtual seconds; what must come
    before it is in `setup`. It is `verbs` of the journal, from number `at` on."""

    number: int
    time: float
    setup: tuple[str, ...]
    line: str
    at: int = -1
    verbs: tuple = ()

    def __str__(self) -> str:
        return "\n".join((*self.setup, self.line))


@dataclass
class Base:
    """Where a program may begin: a run so far, and how it is made if it is not the cluster that
    the panel was opened on."""

    run: Journal
    head: Line | None = None


class HandLog:
    """The lines of all runs that one panel has been in."""

    def __init__(self, cluster: Any):
        self.cluster = cluster
        self._pool: list[Line] = []
        self._count = 0
        self._bases = [Base(Journal.of(cluster))]
        self._seen = self._length
        self._era = cluster.trace.era

    @property
    def _length(self) -> int:
        return len(self.cluster._done)

    @property
    def state(self) -> tuple[int, int]:
        """Differs whenever `lines` may differ."""
        return self.cluster.trace.era, self._length

    def absorb(self) -> None:
        """Notice what others did since: a cell, another panel, or somebody who took the cluster
        to another run."""
        if self._era != self.cluster.trace.era:
            self._era = self.cluster.trace.era
            self._come()
        elif self._length > self._seen:
            verbs = self._verbs(self._seen)
            said = [_said(verb) for verb in verbs[:MOST_SAID]] + ["…"] * (len(verbs) > MOST_SAID)
            self._add(verbs[0][1], (), f"# not done by these lines: {', '.join(said)}", verbs)
        self._seen = self._length

    def tell(self, line: str, time: float, setup: tuple[str, ...] = ()) -> None:
        """Write down that the verbs since the last time were done by this line."""
        if self._length > self._seen:
            self._add(time, setup, line, self._verbs(self._seen))
        self._seen = self._length

    def _verbs(self, first: int) -> tuple:
        return tuple((*verb[:3], frozen(verb[3])) for verb in self.cluster._done[first:])

    def _add(self, time: float, setup: tuple[str, ...], line: str, verbs: tuple) -> None:
        self._count += 1
        new = Line(self._count, time, setup, line, self._length - len(verbs), verbs)
        self._pool = [one for one in self._pool if (one.at, one.verbs) != (new.at, verbs)]
        self._pool.append(new)

    def _come(self) -> None:
        """The cluster is in another run: a program has to get there."""
        run = Journal.of(self.cluster)
        if self._base(run) is not None:
            return
        try:
            line, setup = f'cluster = Cluster.from_code("{self.cluster.code()}")', True
        except ValueError:
            line, setup = "# from here on: the run that was opened, which has no code", False
        self._count += 1
        head = Line(self._count, run.now, ("from kvlearn import Cluster",) * setup, line)
        self._bases.append(Base(run, head))

    def _base(self, run: Journal) -> tuple[Base, int] | None:
        """Where a program of the run begins, and how many verbs both share; None: nowhere known."""
        for base in self._bases:
            if _made(base.run) != _made(run):
                continue
            same = _shared(base.run.done, run.done)
            told = sum(len(line.verbs) for line in self._of(run) if line.at >= same)
            if told == len(run.done) - same:
                return base, same
        return None

    def _of(self, run: Journal) -> list[Line]:
        """The lines that the run consists of, in its order."""
        mine = [
            one for one in self._pool if run.done[one.at : one.at + len(one.verbs)] == one.verbs
        ]
        return sorted(mine, key=lambda one: one.at)

    @property
    def lines(self) -> list[Line]:
        """Those of the present run: first how to get to where they begin, if that takes a line."""
        self.absorb()
        run = Journal.of(self.cluster)
        base, same = self._base(run) or (self._bases[0], 0)
        own = [line for line in self._of(run) if line.at >= same]
        begin = own[0].time if own else run.now
        lines = [base.head] if base.head else []
        done = base.run.done
        if same < len(done) or begin < base.run.now:
            if same < len(done) and begin >= done[same][1]:
                begin = done[same - 1][1] if same else 0.0
            lines.append(Line(-same, begin, (), f"cluster.rewind({begin!r})"))
        return lines + own

    def script(self) -> str:
        """All lines of the present run as one program: `cluster` is the cluster that the panel was
        opened on, as it stood then. Time goes on between two lines as it did."""
        told: list[str] = []
        client, watches = "", 0
        for line in self.lines:
            if not re.match(r"cluster\.rewind\(|cluster = |#", line.line):
                told.append(f"cluster.run_to({line.time!r})")
            opened = re.match(r"watch_(\d+) = ", line.line)
            for before in line.setup:
                if before.startswith("client = "):
                    told += [ASKER] * (ASKER not in told)
                    before = before.replace("cluster.client()", "Asker(cluster)")
                    before = before.replace("cluster.client(", "Asker(cluster, ")
                    if opened and int(opened[1]) != watches + 1:
                        before = f"{before[:-1]}, watches={int(opened[1]) - 1})"
                    told += [before] * (before != client)
                    client = before
                elif before not in told:
                    told.append(before)
            watches = int(opened[1]) if opened else watches
            told.append(line.line)
        if told:
            told.append(f"cluster.run_to({self.cluster.now!r})")
        return "\n".join(told)


def _made(run: Journal) -> Journal:
    """What a run was made with, without what was done in it."""
    return replace(run, done=(), happened=0, now=0.0, clients=0, opened=(), digest="")


def _shared(one: tuple, other: tuple) -> int:
    """How many verbs two runs have in common at their beginning."""
    same = 0
    for mine, theirs in zip(one, other):
        if mine != theirs:
            break
        same += 1
    return same


def _said(verb: tuple) -> str:
    """A verb of the journal in a few words: "crash n2"."""
    return f"{verb[2]} {' '.join(map(str, verb[3]))}".strip()[:60].replace("\n", " ")
