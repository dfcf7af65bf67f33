"""What the tests of the recipes share: the past as the store tells it, actors, and trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from kvlearn import Cluster
from kvlearn.errors import RequestError, SessionExpired
from kvlearn.mvcc.watch import KVEvent


def calm(cluster: Cluster) -> None:
    """End all trouble among the nodes, and wait until they agree."""
    cluster.heal()
    cluster.links.loss = cluster.links.duplicate = 0.0
    for name, node in cluster.nodes.items():
        if not node.alive:
            cluster.restart(name)
    cluster.run(3)
    cluster.wait_for_leader()


def past(cluster: Cluster, prefix: str) -> list[KVEvent]:
    """Every change of the keys with this prefix since the beginning."""
    calm(cluster)
    client = cluster.client(timeout_s=20)
    now = client.get(prefix).header.revision
    with client.watch(prefix, prefix=True, start_revision=1) as watcher:
        while watcher.revision < now:
            watcher.progress(timeout_s=20)
        return watcher.events()


def lines(events: list[KVEvent]) -> Iterator[tuple[KVEvent, list[int]]]:
    """Each change, and the create revisions of the keys that are there after it, oldest first."""
    there: dict[bytes, int] = {}
    for event in events:
        if event.type == "put":
            there[event.kv.key] = event.kv.create_revision
        else:
            there.pop(event.kv.key)
        yield event, sorted(there.values())


def line_at(events: list[KVEvent], revision: int) -> list[int]:
    """The create revisions of the keys that are there at a revision, oldest first."""
    line: list[int] = []
    for event, now in lines(events):
        if event.kv.mod_revision > revision:
            break
        line = now
    return line


def play(
    seed: int, cluster: Cluster, actors: dict[str, Callable[[], None]], moves: int, kinds: str
) -> set[str]:
    """Let actors (client name -> what it does next) take turns while things go wrong.

    `kinds` says what may: n (a node crashes), p (partition), l (loss and duplicates), c (a client
    pauses), x (a client crashes). Returns the clients that are gone.
    """
    rng = Random(f"{seed}/recipes")
    gone: set[str] = set()
    paused: dict[str, float] = {}
    mend_s = 0.0
    for _ in range(moves):
        if rng.random() < 0.15:
            mend_s = break_something(rng, cluster, [*actors], gone, paused, rng.choice(kinds))
        for name in [name for name, until in paused.items() if cluster.now >= until]:
            del paused[name]
            cluster.resume(name)
        if mend_s and cluster.now >= mend_s:
            calm(cluster)
            mend_s = 0.0
        ready = [name for name in actors if name not in gone and name not in paused]
        if ready:
            try:
                actors[rng.choice(ready)]()
            except (RequestError, SessionExpired):
                pass
        cluster.run(rng.uniform(0.05, 0.6))
    for name in paused:
        cluster.resume(name)
    calm(cluster)
    return gone


def break_something(rng, cluster, names, gone, paused, kind) -> float:
    """Returns when it is mended; 0: by itself."""
    nodes = list(cluster.nodes)
    match kind:
        case "n" if all(node.alive for node in cluster.nodes.values()):
            cluster.crash(rng.choice([cluster.leader or nodes[0], rng.choice(nodes)]))
        case "p":
            cluster.partition([rng.choice(nodes)])
        case "l":
            cluster.links.loss, cluster.links.duplicate = 0.15, 0.3
        case "c":
            name = rng.choice(names)
            if name not in gone and name not in paused:
                cluster.pause(name)
                paused[name] = cluster.now + rng.uniform(1, 9)
            return 0.0
        case "x" if len(gone) < 1:
            name = rng.choice(names)
            if name not in paused:
                cluster.crash(name)
                gone.add(name)
            return 0.0
    return cluster.now + rng.uniform(0.5, 3)
