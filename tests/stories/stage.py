"""Where the stories play: a cluster whose promises are checked all the time, a hand that asks and
cuts, and what every node has applied.

A story writes values, each only once, and later asks in which log they are. `ask` hands a value to
a node and does not wait; `commit` wants it applied by the nodes that it names, whatever it takes.
"""

from collections.abc import Callable, Iterable
from math import inf
from random import Random
from typing import Any

import pytest

from kvlearn import Cluster, Links, RaftConfig
from kvlearn.client import Client
from kvlearn.errors import TimedOut
from kvlearn.events import Applied, BecameCandidate, BecameLeader, Event, Sent
from kvlearn.kv.requests import Command, Put
from kvlearn.raft.messages import Message
from kvlearn.trace import Record

KEY = b"k"
CONFIGS = {"plain": RaftConfig(), "etcd": RaftConfig.etcd()}

both = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
"""Plain Raft of the paper, and with etcd's pre-votes and leaders that step down unheard."""


def seeds(count: int) -> pytest.MarkDecorator:
    """The story is told so many times, each time with other chances."""
    return pytest.mark.parametrize("seed", range(1, count + 1))


class SomeNodes:
    """A channel to some nodes of a simulated cluster."""

    def __init__(self, cluster: Cluster, names: Iterable[str], name: str):
        inner = cluster.client().channel
        inner.name = name
        self.endpoints = tuple(names)
        self.try_s = inner.try_s
        self.now, self.wait, self.call = inner.now, inner.wait, inner.call


class Story:
    """One cluster, who did what in it, and a seeded hand.

    `applied[name][index]` is the command that a node has applied there; None is a no-op.
    `place[value]` is the first index at which anybody applied the value, `index_of[op_id]` that of
    an operation.
    """

    def __init__(self, size: int, seed: int, config: RaftConfig | None = None, **options: Any):
        self.cluster = Cluster(size, seed, config, **options)
        self.names = tuple(self.cluster.nodes)
        self.rng = Random(f"story/{size}/{seed}")
        self.applied: dict[str, dict[int, Command | None]] = {name: {} for name in self.names}
        self.place: dict[str, int] = {}
        self.index_of: dict[int, int] = {}
        self.cluster.trace.subscribe(self._on_applied, Applied)

    def _on_applied(self, record: Record) -> None:
        index, command = record.event.index, record.event.command
        self.applied[record.node][index] = command
        if isinstance(command, Command):
            self.index_of.setdefault(command.op_id, index)
            self.place.setdefault(command.request.value.decode(), index)

    # Time -------------------------------------------------------------------------------------

    @property
    def longest_s(self) -> float:
        """The longest election timeout, in virtual seconds: the measure of all patience."""
        return self.cluster.config.tick_s * self.cluster.config.max_election_ticks

    def wait(self, timeouts: float) -> None:
        """Let so many longest election timeouts pass."""
        self.cluster.run(timeouts * self.longest_s)

    def until(self, condition: Callable[[], Any], timeouts: float = 5) -> None:
        """Go on until it is true. Raises: TimedOut after so many longest election timeouts."""
        self.cluster.run_until(lambda cluster: condition(), timeouts * self.longest_s)

    # Who leads --------------------------------------------------------------------------------

    def claims(self, names: Iterable[str] | None = None) -> list[str]:
        """Who of `names` believes to lead, the highest term last."""
        nodes = self.cluster.nodes
        leading = [n for n in names or self.names if nodes[n].role == "leader"]
        return sorted(leading, key=lambda name: nodes[name].term)

    def is_led(self, names: Iterable[str]) -> bool:
        """Whether all of `names` know one leader in one term, who is one of them."""
        nodes = self.cluster.nodes
        beliefs = {(nodes[name].term, nodes[name].leader) for name in names}
        return len(beliefs) == 1 and beliefs.pop()[1] in self.claims(names)

    def wait_for_leader(self, names: Iterable[str] | None = None, timeouts: float = 5) -> str:
        """Go on until `names` agree on a leader; its name. Raises: TimedOut."""
        names = tuple(names or self.names)
        self.until(lambda: self.is_led(names), timeouts)
        return self.claims(names)[-1]

    def others(self, *names: str) -> tuple[str, ...]:
        """All nodes but these."""
        return tuple(name for name in self.names if name not in names)

    # Links and processes ----------------------------------------------------------------------

    def alone(self, *names: str) -> None:
        """Each of these nodes, and no other, is cut off from everybody."""
        self.cluster.heal()
        for name in names:
            self.cluster.isolate(name)

    def crash(self, *names: str) -> None:
        """Crash these nodes, at one time."""
        for name in names:
            self.cluster.crash(name)

    def restart(self, *names: str) -> None:
        """Start these nodes again."""
        for name in names:
            self.cluster.restart(name)

    def alive(self) -> list[str]:
        """The nodes whose processes run."""
        return [name for name, node in self.cluster.nodes.items() if node.alive]

    def trouble_links(self, loss: float = 0.1, longest_s: float = 0.03) -> None:
        """From now on packets get lost, come twice, late and in another order."""
        links = self.cluster.links
        links.loss, links.duplicate, links.reorder = loss, 0.1, 0.1
        links.latency_s = (0.001, longest_s)

    def mend(self) -> None:
        """All nodes run, all links work, and nothing is lost, doubled or late any more."""
        links, fair = self.cluster.links, Links()
        links.loss, links.duplicate, links.reorder = (
            fair.loss,
            fair.duplicate,
            fair.reorder,
        )
        links.latency_s = fair.latency_s
        self.alone()
        self.restart(*(name for name in self.names if name not in self.alive()))

    # Values -----------------------------------------------------------------------------------

    def ask(self, value: str | bytes, node: str | None = None) -> int:
        """Hand a value to a node (or to the leader), and do not wait; the operation's number."""
        value = value.encode() if isinstance(value, str) else value
        return self.cluster.submit(Put(KEY, value), node or self.cluster.leader)

    def acknowledged(self, op_id: int) -> bool:
        """Whether whoever asked was told that it is done."""
        operation = self.cluster.operation(op_id)
        return operation.done and operation.error is None

    def commit(self, value: str, names: Iterable[str] | None = None, timeouts: float = 10) -> int:
        """Have `value` applied by all of `names`, and return its index. Raises: TimedOut."""
        self.commit_all((value,), names, timeouts)
        return self.place[value]

    def commit_all(
        self,
        values: Iterable[str],
        names: Iterable[str] | None = None,
        timeouts: float = 10,
    ) -> None:
        """Have all these values applied by all of `names`: asked at one time, of their leader.

        What it does not apply for a while is asked again, as by a client who does not mind that a
        value may be there twice. Raises: TimedOut.
        """
        values, names = tuple(values), tuple(names or self.names)
        end = self.cluster.now + timeouts * self.longest_s
        while self.cluster.now < end:
            if not (leaders := self.claims(names)):
                self.cluster.run(self.cluster.config.tick_s)
                continue
            for value in values:
                if value not in self.place:
                    self.ask(value, leaders[-1])
            try:
                self.until(lambda: self.have(values, names), timeouts=1)
                return
            except TimedOut:
                continue
        missing = [value for value in values if not self.have((value,), names)]
        raise TimedOut(f"{' '.join(names)} have not applied {missing}", self.state())

    def have(self, values: Iterable[str], names: Iterable[str]) -> bool:
        """Whether all of `names` have applied all these values, or got them with a snapshot."""
        least = min(self.cluster.nodes[name].applied for name in names)
        return all(self.place.get(value, inf) <= least for value in values)

    def values(self, name: str) -> list[str]:
        """What a node has applied, in the order of the log."""
        commands = self.applied[name]
        told = (commands[index] for index in sorted(commands))
        return [c.request.value.decode() for c in told if isinstance(c, Command)]

    def anywhere(self) -> set[str]:
        """The values that any node has applied."""
        return {value for name in self.names for value in self.values(name)}

    def agree(self, names: Iterable[str] | None = None, timeouts: float = 10) -> None:
        """Go on until all of `names` have applied the same, all that was committed."""
        names = tuple(names or self.names)
        self.until(lambda: self._agree(names), timeouts)
        hashes = {self.cluster.nodes[name].store.hash() for name in names}
        assert len(hashes) == 1, self.state()
        for index in range(1, self.cluster.nodes[names[0]].applied + 1):
            told = {self.applied[n][index] for n in names if index in self.applied[n]}
            assert len(told) == 1, f"index {index}: {told}"

    def _agree(self, names: tuple[str, ...]) -> bool:
        nodes = [self.cluster.nodes[name] for name in names]
        ends = {(n.log[-1].id if n.log else n.base, n.commit, n.applied) for n in nodes}
        last, commit, applied = next(iter(ends))
        return len(ends) == 1 and last.index == commit == applied

    def state(self) -> str:
        """Where everybody stands, for a message."""
        return f"\n{self.cluster.now:.3f} s, cuts {self.cluster.cuts}\n{self.cluster.nodes!r}"

    def client(self, names: Iterable[str], name: str) -> Client:
        """A client of this name that can talk to these nodes only."""
        return Client(SomeNodes(self.cluster, names, name), 5 * self.longest_s)

    # The story so far -------------------------------------------------------------------------

    @property
    def page(self) -> int:
        """How long the trace is: what comes later is `since` here."""
        return len(self.cluster.trace)

    def sent(self, *kinds: type[Message], since: int = 0) -> list[Message]:
        """The messages of these kinds that have left."""
        messages = (record.event.message for record in self.cluster.trace.of(Sent, start=since))
        return [message for message in messages if not kinds or isinstance(message, kinds)]

    def told(self, *kinds: type[Event], since: int = 0) -> list[Event]:
        """The events of these kinds."""
        return [record.event for record in self.cluster.trace.of(*kinds, start=since)]

    def elections(self, since: int = 0) -> list[Event]:
        """Who stood for election, and who won."""
        return self.told(BecameCandidate, BecameLeader, since=since)
