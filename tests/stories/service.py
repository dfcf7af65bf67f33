"""A key-value store in use: clients in closed loops, rounds of trouble, and what must hold."""

from random import Random

from kvlearn import Cluster, RaftConfig
from kvlearn.check.hand import Hand
from kvlearn.check.linearizable import UNKNOWN_VERDICT, Linearizability, linearizable
from kvlearn.check.workloads import ClosedLoop, Driver, Puts, mend_and_probe, promises
from kvlearn.events import Invoked, Returned
from kvlearn.kv.requests import Put

ROUNDS = 3
ROUND = 3  # longest election timeouts
PATIENCE = 5_000_000  # steps of the search for an order, where the usual number did not decide
THINK_S = (0.05, 0.25)  # between an answer and the next question


class Partitions:
    """An actor: again and again each node is put into one of two groups, by the toss of a coin."""

    def __init__(self, hand: Hand, rng: Random):
        self.rng = rng
        self.due = hand.now + rng.uniform(0, 1) * hand.longest_s

    def wake(self, hand: Hand) -> None:
        """Cut the links between two new groups."""
        sides: tuple[list[str], list[str]] = ([], [])
        for name in hand.cluster.nodes:
            sides[self.rng.random() < 0.5].append(name)
        if all(sides):
            hand.do("partition", *map(tuple, sides))
        else:
            hand.do("heal")
        self.due = hand.now + self.rng.uniform(0.3, 1.6) * hand.longest_s

    def answered(self, now: float) -> None:
        """It asks nothing."""


def use(
    seed: int,
    config: RaftConfig | None = None,
    *,
    nodes: int = 5,
    clients: int = 1,
    keys: int = 1,
    bad_links: bool = False,
    partitions: bool = False,
    restarts: bool = False,
) -> Cluster:
    """Three rounds of clients on few keys, with trouble; the cluster, once all is mended.

    On the way and in the end every promise is checked: those of the paper, that the history is
    linearizable, that no acknowledged write is lost, that all nodes end alike and take a put each;
    and that no put was carried out twice.
    """
    cluster = Cluster(nodes, seed, config)
    driver = Driver(cluster, seed)
    hand = driver.hand
    cluster.wait_for_leader()
    if bad_links:
        for setting, value in (("loss", 0.1), ("duplicate", 0.1), ("reorder", 0.1)):
            hand.set_links(setting, value)
        hand.set_links("latency_s", (0.001, 0.02))
    for number in range(ROUNDS):
        play_round(driver, number, clients, keys, partitions)
        if restarts:
            for name in cluster.nodes:
                hand.do("crash", name)
            cluster.run(hand.longest_s)
            hand.mend_nodes()
    mend_and_probe(hand)
    for verdict in promises(cluster):
        if isinstance(verdict, Linearizability) and verdict.verdict == UNKNOWN_VERDICT:
            verdict = linearizable(cluster.trace, budget=PATIENCE, shrink=False)
        assert verdict.ok, f"{verdict} (seed {seed})"
    check_counts(cluster)
    return cluster


def play_round(driver: Driver, number: int, clients: int, keys: int, partitions: bool) -> None:
    """New clients come, ask for a while, and give up what is not answered."""
    hand, start = driver.hand, driver.cluster.now
    for k in range(1, clients + 1):
        name = f"c{number}.{k}"
        rng = driver.luck(name)
        patience_s = rng.uniform(0.5, 1.5) * hand.longest_s
        client = ClosedLoop(name, rng, Puts(keys, deletes=0.0), THINK_S, patience_s)
        client.due += start
        driver.add(client, name)
    if partitions:
        driver.add(Partitions(hand, driver.luck(f"partitions {number}")))
    driver.end_trouble(start + ROUND * hand.longest_s)
    if partitions:
        hand.do("heal")
        driver.cluster.run(hand.longest_s)
    for waiting in hand.waiting():
        hand.do("give_up", waiting)


def check_counts(cluster: Cluster) -> None:
    """A key's version says how often it was put: not less often than clients were told, and not
    more often than puts were asked that may have been carried out."""
    asked: dict[int, bytes] = {}
    done: dict[bytes, int] = {}
    maybe: dict[bytes, int] = {}
    for record in cluster.trace.of(Invoked, Returned):
        event = record.event
        if isinstance(event, Invoked):
            if isinstance(event.request, Put):
                asked[event.op_id] = event.request.key
        elif event.op_id in asked and (event.unknown or not event.error):
            counts = maybe if event.unknown else done
            key = asked[event.op_id]
            counts[key] = counts.get(key, 0) + 1
    store = next(iter(cluster.nodes.values())).store
    assert done
    for key in sorted({*done, *maybe}):
        pair = store.get(key)
        version = pair.version if pair else 0
        least = done.get(key, 0)
        assert least <= version <= least + maybe.get(key, 0), (key, version)


def answers(cluster: Cluster) -> int:
    """How many questions were answered, and not with an error."""
    return sum(not record.event.error for record in cluster.trace.of(Returned))
