"""The hand that does things to a cluster, and remembers what it did: a run as data.

An `Act` is one verb of a cluster with its time. The hand carries acts out through the cluster's
public verbs and writes them down; carrying out the same acts on a new cluster gives the same run
again, and a shrinker may leave some of them out. What no cluster can bear (`bearable.py`) a hand
does not do, so whatever breaks under it is broken.

>>> from kvlearn.kv.requests import Put
>>> from kvlearn.sim import Cluster
>>> hand = Hand(Cluster(3, seed=7))
>>> hand.cluster.run_to(2.0)
>>> hand.do("crash", "n1")
>>> hand.ask("c1", "n2", Put(b"a", b"1"))
1
>>> print(*hand.acts, sep="\\n")
 2.000000 s  crash n1
 2.000001 s  c1 asks n2: put a=1
>>> again = Hand(Cluster(3, seed=7))
>>> again.repeat(hand.acts)
>>> again.cluster.operation(1) == hand.cluster.operation(1)
True
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from kvlearn.check.bearable import objection
from kvlearn.sim.channel import SimulatedChannel
from kvlearn.sim.cluster import Cluster
from kvlearn.sim.network import Links
from kvlearn.values import value


@value
class Act:
    """What a hand did at a virtual time: a verb and what it was said with, all plain data.

    Verbs are those of the cluster, and `links` (setting, new), `clock` (node, rate), `disk` (node,
    fsync_s), `ask` (number, client, node, request), `give_up` (number of the ask), `watch` (client,
    node, request), `hold_watch` (stream, held), `close_watch` (stream).
    """

    at_s: float
    verb: str
    arguments: tuple = ()

    def __str__(self) -> str:
        return f"{self.at_s:9.6f} s  {self.words()}"

    def words(self) -> str:
        """What was done, without the time."""
        match self.verb, *self.arguments:
            case "ask", _, client, node, request:
                return f"{client} asks {node}: {request}"
            case "give_up", number:
                return f"the client of operation {number} waits no longer"
            case "links", setting, new:
                return f"links: {setting} is {new}"
            case "clock", node, rate:
                return f"clock of {node}: rate {rate}"
            case "disk", node, fsync_s:
                return f"disk of {node}: fsync_s {fsync_s}"
            case "partition", *groups:
                return "partition " + " ".join(f"({' '.join(group)})" for group in groups)
            case "watch", client, node, request:
                return f"{client} asks {node}: {request}"
            case "hold_watch", stream, held:
                return f"{stream} is {'not read' if held else 'read again'}"
            case "cut", source, target, one_way:
                return f"cut {source}{'→' if one_way else '↔'}{target}"
        return " ".join((self.verb, *map(str, self.arguments)))

    def code(self) -> str:
        """The line of Python that does it to a `cluster`."""
        match self.verb, *self.arguments:
            case "ask", number, client, node, request:
                return f"op[{number}] = cluster.submit({call_of(request)}, {node!r}, {client!r})"
            case "give_up", number:
                return f"cluster.give_up(op[{number}])"
            case "links", setting, new:
                return f"cluster.links.{setting} = {new!r}"
            case "clock", node, rate:
                return f"cluster.clock({node!r}).rate = {rate!r}"
            case "disk", node, fsync_s:
                return f"cluster.disk({node!r}).fsync_s = {fsync_s!r}"
            case "watch", client, node, request:
                channel = f"SimulatedChannel(cluster, None, {client!r})"
                return f"{channel}.open_stream({node!r}, {call_of(request)})"
            case "hold_watch", stream, held:
                return f"SimulatedChannel(cluster, None, '').hold_stream({stream!r}, {held})"
            case "close_watch", stream:
                return f"SimulatedChannel(cluster, None, '').close_stream({stream!r})"
        return f"cluster.{self.verb}({', '.join(map(repr, self.arguments))})"


def call_of(request: Any) -> str:
    """A request as Python writes it, without what is left at its default.

    >>> from kvlearn.kv.members import MemberAdd
    >>> from kvlearn.kv.requests import Put
    >>> call_of(Put(b"a", b"1")), call_of(MemberAdd("n6", True))
    ("Put(b'a', b'1')", "MemberAdd('n6', True)")
    """
    told, by_place = [], True
    for field in fields(request):
        mine = getattr(request, field.name)
        if mine == field.default:
            by_place = False
        else:
            told.append(repr(mine) if by_place else f"{field.name}={mine!r}")
    return f"{type(request).__name__}({', '.join(told)})"


class Hand:
    """A hand on one cluster. `acts`: what it did, oldest first; `lost`: the nodes whose disks it
    took, and that were not started afresh; `size`: how many nodes there were at the start;
    `ordered`: the number of the operator's last question."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster
        self.acts: list[Act] = []
        self.lost: set[str] = set()
        self.size = len(cluster.nodes)
        self.ordered = 0
        self.fair_links = {name: getattr(cluster.links, name) for name in vars(Links())}
        self.fair_disks = {name: node.fsync_s for name, node in cluster.nodes.items()}
        self.from_the_start = cluster.now == 0.0
        self._asked: dict[int, int] = {}  # number of an ask -> the cluster's op_id
        self._last = 0  # the highest such number
        self._streams: list[str] = []
        self._verbs = {
            "crash": cluster.crash,
            "restart": cluster.restart,
            "pause": cluster.pause,
            "resume": cluster.resume,
            "wipe": cluster.wipe,
            "add_node": cluster.add_node,
            "campaign": cluster.campaign,
            "isolate": cluster.isolate,
            "partition": cluster.partition,
            "cut": cluster.cut,
            "heal": cluster.heal,
        }

    @property
    def now(self) -> float:
        """Virtual seconds."""
        return self.cluster.now

    @property
    def longest_s(self) -> float:
        """The longest election timeout: what counts as a short while for this cluster."""
        config = self.cluster.config
        return config.tick_s * config.max_election_ticks

    def do(self, verb: str, *arguments: Any) -> None:
        """Do it now and write it down. Raises: ValueError or KeyError if it makes no sense, or
        is more than the cluster can bear."""
        if why := self.objection(verb, *arguments):
            raise ValueError(why)
        self.acts.append(Act(self.cluster.now, verb, arguments))
        try:
            self._carry_out(verb, arguments)
        except (ValueError, KeyError):
            self.acts.pop()
            raise

    def objection(self, verb: str, *arguments: Any) -> str:
        """Why the cluster could not bear this act; empty if it could."""
        return objection(self.cluster, self.lost, verb, *arguments)

    def ask(self, client: str, node: str, request: Any) -> int:
        """Let `client` ask `node`, without waiting; the number with which to give up."""
        number = self._last + 1
        self.do("ask", number, client, node, request)
        return number

    def waiting(self) -> list[int]:
        """The numbers of the asks that nobody has answered yet."""
        operation = self.cluster.operation
        return [number for number, op_id in self._asked.items() if not operation(op_id).done]

    def streams(self) -> list[str]:
        """The watch streams that are open."""
        return list(self._streams)

    def repeat(self, acts: Iterable[Act], until_s: float = float("inf")) -> None:
        """Do all that again up to `until_s`, each at its time; what makes no sense is left out."""
        for act in acts:
            if act.at_s > until_s:
                break
            self.cluster.run_to(act.at_s)
            try:
                self.do(act.verb, *act.arguments)
            except (ValueError, KeyError):
                continue  # as a restart of a node whose crash was left out

    def _carry_out(self, verb: str, arguments: tuple) -> None:
        cluster = self.cluster
        match verb, *arguments:
            case "ask", number, client, node, request:
                self._last = max(self._last, number)
                self._asked[number] = cluster.submit(request, node, client)
            case "give_up", number:
                cluster.give_up(self._asked[number])
            case "links", setting, new:
                setattr(cluster.links, setting, new)
            case "clock", node, rate:
                cluster.clock(node).rate = rate
            case "disk", node, fsync_s:
                cluster.disk(node).fsync_s = fsync_s
            case "watch", client, node, request:
                channel = SimulatedChannel(cluster, None, client)
                self._streams.append(channel.open_stream(node, request))
            case "hold_watch", stream, held:
                SimulatedChannel(cluster, None, "").hold_stream(stream, held)
            case "close_watch", stream:
                self._streams.remove(stream)
                SimulatedChannel(cluster, None, "").close_stream(stream)
            case _ if verb in self._verbs:
                self._verbs[verb](*arguments)
                self._keep_account(verb, *arguments[:1])
            case _:
                raise ValueError(f"a hand cannot {verb!r}; it can {', '.join(self._verbs)}, ...")

    def _keep_account(self, verb: str, name: Any = "") -> None:
        """Of disks that are gone, and of new ones."""
        if verb == "wipe":
            self.lost.add(name)
        elif verb == "add_node":
            self.lost.discard(name)
            self.fair_disks[name] = self.cluster.disk(name).fsync_s

    # What trouble needs -----------------------------------------------------------------------

    def leaders(self) -> list[str]:
        """The nodes that believe to lead: there may be several, of different terms."""
        return [name for name, node in self.cluster.nodes.items() if node.role == "leader"]

    def mend(self) -> None:
        """Undo all trouble: links, nodes, clocks and disks are as they were at the start."""
        self.mend_links()
        self.mend_nodes()
        self.mend_clocks()
        self.mend_disks()

    def mend_links(self) -> None:
        """All links work, as well as at the start."""
        if self.cluster.cuts:
            self.do("heal")
        for setting, fair in self.fair_links.items():
            self.set_links(setting, fair)

    def mend_nodes(self) -> None:
        """All nodes run that have a disk to run from."""
        for name, node in self.cluster.nodes.items():
            if name in self.lost:
                continue
            if not node.alive:
                self.do("restart", name)
            elif node.paused:
                self.do("resume", name)

    def mend_clocks(self) -> None:
        """All clocks run at the right speed."""
        for name in self.cluster.nodes:
            if self.cluster.clock(name).rate != 1.0:
                self.do("clock", name, 1.0)

    def mend_disks(self) -> None:
        """All disks are as quick as at the start."""
        for name, fair in self.fair_disks.items():
            if self.cluster.disk(name).fsync_s != fair:
                self.do("disk", name, fair)

    def set_links(self, setting: str, new: Any) -> None:
        """Set one quality of the links, unless it is so already."""
        if getattr(self.cluster.links, setting) != new:
            self.do("links", setting, new)
