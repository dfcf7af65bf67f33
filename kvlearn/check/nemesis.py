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
```

Spans are in longest election timeouts, so the same nemesis fits every timing. Wiped disks and
changes of membership are no nemeses: a voter that comes back empty may break every promise.

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

from kvlearn.check.hand import Hand

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
    """One node's clock runs wrong by up to a half."""
    name = somebody(hand, rng, list(hand.cluster.nodes))
    low, high = rng.choice(((0.67, 0.95), (1.05, 1.5)))
    hand.do("clock", name, round(rng.uniform(low, high), 2))


def disk(hand: Hand, rng: Random) -> None:
    """One node's fsyncs take up to an election timeout."""
    name = somebody(hand, rng, list(hand.cluster.nodes))
    longest = rng.uniform(0.02, 1.0) * hand.longest_s
    hand.do("disk", name, (longest / 4, longest))


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
    )
}


def nemeses_named(names: tuple[str, ...]) -> list[Nemesis]:
    """The nemeses of these names. Raises: ValueError that names those there are."""
    for name in names:
        if name not in NEMESES:
            raise ValueError(f"there is no nemesis {name!r}; there are {', '.join(NEMESES)}")
    return [NEMESES[name] for name in names]
