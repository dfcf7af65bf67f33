"""Nemeses: kinds of trouble that strike a cluster, last a while and are mended again.

Each is a value with two small functions, `strike` and `calm`. They compose by being there
together: every nemesis has its own clock and its own luck, so adding one leaves the others as
they were.

```
  crash     one node, some of them or all lose their memory       calm: all run again
  reboot    one node, at once running again
  torn      one node in the midst of an fsync
  pause     one node stops where it is, its clock goes on
  halves    two groups that cannot talk
  ring      every node talks to a majority, no two to the same    (5 nodes: to its neighbours)
  bridge    two halves that only one node can talk to
  leader    one who believes to lead is alone, or with a minority
  one_way   some links work in one direction only
  loss  duplicate  reorder  latency                               the network's quality
  clock     one node's clock is too fast or too slow
  disk      one node's fsyncs take long
  wipe      one node loses its disk, and step by step a fresh one takes its place
  members   voters and learners come and go, one by one or jointly; leadership moves
```

Spans are in longest election timeouts, so the same nemesis fits every timing. The last two do only
what a cluster can bear (`bearable.py`): a voter that comes back empty may break every promise. What
they ask for may be refused, or be lost, like any other request.

>>> from kvlearn.sim import Cluster
>>> hand = Hand(Cluster(5, seed=7))
>>> NEMESES["ring"].strike(hand, Random(1))
>>> hand.cluster.cuts[:4]
(('n1', 'n3'), ('n1', 'n4'), ('n2', 'n4'), ('n2', 'n5'))

Source: K. Kingsbury, Jepsen (nemesis, partition kinds); A. Groce et al., Swarm Testing (2012).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from kvlearn.check.bearable import membership
from kvlearn.check.hand import Hand
from kvlearn.kv.members import (
    MemberAdd,
    MemberChange,
    MemberPromote,
    MemberRemove,
    MoveLeader,
)
from kvlearn.raft.confchange import AUTO, EXPLICIT, IMPLICIT
from kvlearn.raft.types import ConfState
from kvlearn.sim.cluster import MOST_NODES

OPERATOR = "operator"  # the client that asks for changes of members
SPARE = 4  # so many nodes more than at the start may there be

Strike = Callable[[Hand, Random], None]


@dataclass(frozen=True, slots=True)
class Nemesis:
    """One kind of trouble. `quiet` and `lasts` are (shortest, longest) spans in longest election
    timeouts. If `strike` found nothing to do it is asked again after `again`, or (0) another
    quiet span."""

    name: str
    strike: Strike
    calm: Strike
    quiet: tuple[float, float] = (0.5, 8.0)
    lasts: tuple[float, float] = (0.05, 3.0)
    again: float = 0.0

    def __str__(self) -> str:
        return self.name


class Trouble:
    """A nemesis at work: an actor that strikes, waits, calms, waits."""

    def __init__(self, nemesis: Nemesis, hand: Hand, rng: Random):
        self.nemesis, self.rng = nemesis, rng
        self.active = False
        self.due = hand.now + self._span(hand, nemesis.quiet)

    def wake(self, hand: Hand) -> None:
        """Its time has come."""
        nemesis = self.nemesis
        if self.active:
            nemesis.calm(hand, self.rng)
            self.active = False
            self.due = hand.now + self._span(hand, nemesis.quiet)
            return
        before = len(hand.acts)
        nemesis.strike(hand, self.rng)
        self.active = len(hand.acts) > before
        if self.active:
            self.due = hand.now + self._span(hand, nemesis.lasts)
        else:
            self.due += nemesis.again * hand.longest_s or self._span(hand, nemesis.quiet)

    def answered(self, now: float) -> None:
        """A nemesis asks nothing, so nobody answers."""

    def _span(self, hand: Hand, span: tuple[float, float]) -> float:
        return self.rng.uniform(*span) * hand.longest_s


# Nodes --------------------------------------------------------------------------------------


def crash(hand: Hand, rng: Random) -> None:
    """End the processes of one node, some of them, or all."""
    running = _running(hand)
    if not running:
        return
    kind = rng.random()
    if kind < 0.6:
        victims = [somebody(hand, rng, running)]
    elif kind < 0.9:
        victims = rng.sample(running, rng.randint(1, len(running)))
    else:
        victims = running
    for name in victims:
        hand.do("crash", name)


def reboot(hand: Hand, rng: Random) -> None:
    """End the process of one node and start it again at once."""
    if running := _running(hand):
        name = somebody(hand, rng, running)
        hand.do("crash", name)
        hand.do("restart", name)


def torn(hand: Hand, rng: Random) -> None:
    """End the process of a node whose fsync has begun and not ended: part of it may be there."""
    if saving := [name for name in _running(hand) if hand.cluster.disk(name).saving]:
        hand.do("crash", somebody(hand, rng, saving))


def pause(hand: Hand, rng: Random) -> None:
    """Stop the process of one node where it is."""
    nodes = hand.cluster.nodes
    if going := [name for name in _running(hand) if not nodes[name].paused]:
        hand.do("pause", somebody(hand, rng, going))


def _running(hand: Hand) -> list[str]:
    return [name for name, node in hand.cluster.nodes.items() if node.alive]


def somebody(hand: Hand, rng: Random, names: list[str]) -> str:
    """One of `names`; who believes to lead as often as all others together."""
    leading = [name for name in hand.leaders() if name in names]
    return rng.choice(leading if leading and rng.random() < 0.5 else names)


# Links --------------------------------------------------------------------------------------


def halves(hand: Hand, rng: Random) -> None:
    """Two groups that cannot talk to each other."""
    names = _shuffled(hand, rng)
    if len(names) > 1:
        cut = rng.randint(1, len(names) - 1)
        hand.do("partition", tuple(sorted(names[:cut])), tuple(sorted(names[cut:])))


def ring(hand: Hand, rng: Random) -> None:
    """Every node talks to a majority, itself included, and no two to the same one."""
    names = list(hand.cluster.nodes)
    size = len(names)
    near = (size // 2 + 1) // 2  # so many neighbours on each side make a majority
    pairs = [(a, b) for b in range(size) for a in range(b) if min(b - a, size - b + a) > near]
    if pairs:
        _cut_pairs(hand, sorted((names[a], names[b]) for a, b in pairs))
    else:  # of three nodes all are neighbours
        bridge(hand, rng)


def bridge(hand: Hand, rng: Random) -> None:
    """Two halves that cannot talk, and one node between them that talks to both."""
    first, *others = _shuffled(hand, rng)
    half = len(others) // 2
    _cut_pairs(hand, sorted((a, b) for a in others[:half] for b in others[half:]))


def leader(hand: Hand, rng: Random) -> None:
    """One who believes to lead is alone, or with as many others as are no majority."""
    leading = hand.leaders()
    if not leading or len(hand.cluster.nodes) < 2:
        return
    alone = rng.choice(leading)
    others = [name for name in _shuffled(hand, rng) if name != alone]
    minority = rng.randint(0, max(0, (len(others) + 1) // 2 - 1))
    side = (alone, *sorted(others[:minority]))
    hand.do("partition", side, tuple(sorted(others[minority:])))


def one_way(hand: Hand, rng: Random) -> None:
    """Some links work in one direction only."""
    names = list(hand.cluster.nodes)
    links = [(a, b) for a in names for b in names if a != b and (a, b) not in hand.cluster.cuts]
    for source, target in rng.sample(links, min(len(links), rng.randint(1, len(names)))):
        hand.do("cut", source, target, True)


def _shuffled(hand: Hand, rng: Random) -> list[str]:
    names = list(hand.cluster.nodes)
    rng.shuffle(names)
    return names


def _cut_pairs(hand: Hand, pairs: list[tuple[str, str]]) -> None:
    """Cut these links in both directions, and no others."""
    if pairs and hand.cluster.cuts:
        hand.do("heal")
    for a, b in pairs:
        hand.do("cut", a, b, False)


def loss(hand: Hand, rng: Random) -> None:
    """Packets get lost."""
    hand.set_links("loss", rng.choice((0.05, 0.2, 0.5)))


def duplicate(hand: Hand, rng: Random) -> None:
    """Packets come twice."""
    hand.set_links("duplicate", rng.choice((0.2, 0.5)))


def reorder(hand: Hand, rng: Random) -> None:
    """Packets are held up and overtaken."""
    hand.set_links("reorder", rng.choice((0.1, 0.5)))


def latency(hand: Hand, rng: Random) -> None:
    """All ways are long: up to a third of an election timeout."""
    longest = rng.uniform(0.05, 0.33) * hand.longest_s
    hand.set_links("latency_s", (longest / 4, longest))


# Clocks and disks ---------------------------------------------------------------------------


def clock(hand: Hand, rng: Random) -> None:
    """One node's clock runs wrong by up to a half; with lease reads, by what they allow for."""
    name = somebody(hand, rng, list(hand.cluster.nodes))
    config = hand.cluster.config
    low, high = rng.choice(((0.67, 0.95), (1.05, 1.5)))
    if config.lease_reads:  # they are promised only for clocks that are about right
        low, high = max(low, 1 - config.max_drift), min(high, 1 + config.max_drift)
    hand.do("clock", name, round(rng.uniform(low, high), 2))


def disk(hand: Hand, rng: Random) -> None:
    """One node's fsyncs take up to an election timeout."""
    name = somebody(hand, rng, list(hand.cluster.nodes))
    longest = rng.uniform(0.02, 1.0) * hand.longest_s
    hand.do("disk", name, (longest / 4, longest))


# Members ------------------------------------------------------------------------------------


def wipe(hand: Hand, rng: Random) -> None:
    """Take one node's disk; or, if one is gone already, do the next step towards replacing it."""
    if _retire(hand, rng) or _stand_in(hand, rng) or _admit(hand, rng) or rng.random() < 0.7:
        return
    if victims := [name for name in _running(hand) if not hand.objection("wipe", name)]:
        hand.do("wipe", somebody(hand, rng, victims))


def _retire(hand: Hand, rng: Random) -> bool:
    """Have members removed that have lost their disks."""
    conf = membership(hand.cluster)
    gone = [name for name in conf.members if name in hand.lost]
    if not gone:
        return False
    return _order(hand, rng, MemberChange() if conf.outgoing else MemberRemove(rng.choice(gone)))


def _stand_in(hand: Hand, rng: Random) -> bool:
    """Start a fresh node, if there are fewer members than at the start and nobody waits: under
    an old name if the others have forgotten it, else under a new one."""
    if len(membership(hand.cluster).members) >= hand.size or _outside(hand):
        return False
    return bool(_fresh(hand))


def _admit(hand: Hand, rng: Random) -> bool:
    """Bring the number of voters back to what it was: by learners first, then by newcomers."""
    conf = membership(hand.cluster)
    if conf.outgoing or len(conf.voters) >= hand.size:
        return False
    if conf.learners:
        return _order(hand, rng, MemberPromote(rng.choice(conf.learners)))
    outside = _outside(hand)
    return bool(outside) and _order(hand, rng, MemberAdd(rng.choice(outside), rng.random() < 0.7))


def members(hand: Hand, rng: Random) -> None:
    """Ask for a change of members, sensible or not, or for another leader."""
    conf, kind = membership(hand.cluster), rng.random()
    if retired := [
        name for name in hand.leaders() if not hand.cluster.nodes[name].conf.votes(name)
    ]:
        hand.do("crash", retired[0])  # it would lead for ever and take nothing; etcd stops it too
    elif kind < 0.15:
        _order(hand, rng, MoveLeader(rng.choice(conf.voters)))
    elif conf.outgoing and kind < 0.6:
        _order(hand, rng, MemberChange())
    elif kind < 0.4:
        if name := rng.choice(_outside(hand) or [_fresh(hand)]):
            _order(hand, rng, MemberAdd(name, rng.random() < 0.5))
    elif kind < 0.55:
        _order(hand, rng, MemberPromote(rng.choice(conf.learners or conf.members)))
    elif kind < 0.75:
        _order(hand, rng, MemberRemove(somebody(hand, rng, list(conf.members))))
    else:
        _order(hand, rng, _exchange(hand, rng, conf))


def _exchange(hand: Hand, rng: Random, conf: ConfState) -> MemberChange:
    """Several members come, go or lose their votes at once."""
    if rng.random() < 0.3:
        _fresh(hand)
    outside = _outside(hand)
    comes = rng.sample(outside, min(len(outside), rng.randint(0, 2)))
    goes = rng.sample(conf.members, rng.randint(0 if comes else 1, (len(conf.members) + 1) // 2))
    stays = goes[:1] if rng.random() < 0.3 else []  # as a learner
    how = rng.choice((IMPLICIT, IMPLICIT, EXPLICIT, AUTO))
    return MemberChange(tuple(comes), tuple(stays), tuple(goes[len(stays) :]), how)


def _order(hand: Hand, rng: Random, request: Any) -> bool:
    """Let the operator ask any node, or one who believes to lead; whether that was sensible."""
    running = _running(hand)
    if not running or hand.objection("ask", 0, OPERATOR, "", request):
        return False
    if hand.ordered in hand.waiting():
        hand.do("give_up", hand.ordered)
    hand.ordered = hand.ask(OPERATOR, somebody(hand, rng, running), request)
    return True


def _outside(hand: Hand) -> list[str]:
    """Running nodes that are no members."""
    inside = membership(hand.cluster).members
    return [name for name in _running(hand) if name not in inside]


def _fresh(hand: Hand) -> str:
    """Start a fresh, empty node and say its name; empty if there are many nodes already."""
    for name in sorted(hand.lost):
        if not hand.objection("add_node", name):
            hand.do("add_node", name)
            return name
    nodes = hand.cluster.nodes
    if len(nodes) >= min(MOST_NODES, hand.size + SPARE + len(hand.lost)):
        return ""
    name = f"n{len(nodes) + 1}"
    hand.do("add_node", name)
    return name


# Mending ------------------------------------------------------------------------------------


def run_all(hand: Hand, rng: Random) -> None:
    """All nodes run again."""
    hand.mend_nodes()


def heal(hand: Hand, rng: Random) -> None:
    """All links work again."""
    if hand.cluster.cuts:
        hand.do("heal")


def fair(setting: str, hand: Hand, rng: Random) -> None:
    """The links are as good as at the start, in this respect."""
    hand.set_links(setting, hand.fair_links[setting])


def right_clocks(hand: Hand, rng: Random) -> None:
    """All clocks run at the right speed."""
    hand.mend_clocks()


def quick_disks(hand: Hand, rng: Random) -> None:
    """All disks are as quick as at the start."""
    hand.mend_disks()


def nothing(hand: Hand, rng: Random) -> None:
    """It is over already."""


NEMESES: dict[str, Nemesis] = {
    nemesis.name: nemesis
    for nemesis in (
        Nemesis("crash", crash, run_all),
        Nemesis("reboot", reboot, nothing, lasts=(0.0, 0.1)),
        Nemesis("torn", torn, run_all, lasts=(0.0, 1.0), again=0.01),
        Nemesis("pause", pause, run_all),
        Nemesis("halves", halves, heal),
        Nemesis("ring", ring, heal),
        Nemesis("bridge", bridge, heal),
        Nemesis("leader", leader, heal),
        Nemesis("one_way", one_way, heal),
        Nemesis("loss", loss, partial(fair, "loss")),
        Nemesis("duplicate", duplicate, partial(fair, "duplicate")),
        Nemesis("reorder", reorder, partial(fair, "reorder")),
        Nemesis("latency", latency, partial(fair, "latency_s"), lasts=(0.05, 1.5)),
        Nemesis("clock", clock, right_clocks, lasts=(1.0, 6.0)),
        Nemesis("disk", disk, quick_disks),
        Nemesis("wipe", wipe, nothing, quiet=(0.1, 0.8), lasts=(0.0, 0.1)),
        Nemesis("members", members, nothing, quiet=(0.1, 1.5), lasts=(0.0, 0.1)),
    )
}


def nemeses_named(names: tuple[str, ...]) -> list[Nemesis]:
    """The nemeses of these names. Raises: ValueError that names those there are."""
    for name in names:
        if name not in NEMESES:
            raise ValueError(f"there is no nemesis {name!r}; there are {', '.join(NEMESES)}")
    return [NEMESES[name] for name in names]
