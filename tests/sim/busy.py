"""One busy life of a cluster, with every verb in it: what determinism is tested on.

    python -m tests.sim.busy [seed]          prints the digest of its trace

The digest must be the same on every Python from 3.11 on, with any PYTHONHASHSEED.
"""

import hashlib
import sys
from random import Random

from kvlearn import Cluster, Links, RaftConfig
from kvlearn.errors import RequestError
from kvlearn.kv.requests import DeleteRange, Put, Range


def busy(seed: int, seconds: float = 20.0) -> Cluster:
    """A cluster of five in trouble. What is done to it hangs on the seed alone."""
    rng = Random(seed)
    links = Links(latency_s=(0.001, 0.02), loss=0.02, duplicate=0.02, reorder=0.05)
    config = RaftConfig.paper() if seed % 2 else RaftConfig.etcd(max_entries_per_message=4)
    cluster = Cluster(5, seed=seed, config=config, links=links, fsync_s=(0.001, 0.02))
    client = cluster.client(timeout_s=1.0)
    while cluster.now < seconds:
        cluster.run(rng.random() * 0.5)
        trouble(cluster, rng)
        speak(cluster, client, rng)
    return cluster


def trouble(cluster: Cluster, rng: Random) -> None:
    """One verb of a hand that breaks and mends things."""
    names = list(cluster.nodes)
    name, node = (pick := rng.choice(names)), cluster.nodes[pick]
    match rng.randrange(9):
        case 0:
            cluster.crash(name) if node.alive else cluster.restart(name)
        case 1 if node.alive:
            cluster.resume(name) if node.paused else cluster.pause(name)
        case 2:
            cluster.partition(names[: rng.randint(1, 4)])
        case 3:
            cluster.cut(name, names[names.index(name) - 1], one_way=rng.random() < 0.5)
        case 4:
            cluster.heal()
        case 5:
            cluster.clock(name).rate = rng.choice((0.9, 1.0, 1.1))
        case 6 if cluster.in_flight:
            packet = rng.choice(cluster.in_flight)
            rng.choice((cluster.drop, cluster.deliver, lambda p: cluster.delay(p, 0.1)))(packet)
        case 7 if node.alive and not node.paused and node.role != "leader":
            cluster.campaign(name)
        case 8:
            cluster.links.loss = rng.choice((0.0, 0.02, 0.1))


def speak(cluster: Cluster, client, rng: Random) -> None:
    """A client's call, and a request for whose answer nobody waits."""
    key = f"k{rng.randrange(4)}"
    try:
        rng.choice((lambda: client.put(key, "é€"), lambda: client.get(key)))()
    except RequestError:
        pass  # no answer, or none in time: the story goes on
    data = key.encode()
    request = rng.choice((Put(data, bytes([rng.randrange(256)])), DeleteRange(data), Range(data)))
    cluster.submit(request, rng.choice(list(cluster.nodes)), "c9")


def digest(cluster: Cluster) -> str:
    """A fingerprint of the trace, byte for byte."""
    told = "".join(line + "\n" for line in cluster.trace.lines())
    return hashlib.sha256(told.encode()).hexdigest()


if __name__ == "__main__":
    print(digest(busy(int(sys.argv[1]) if len(sys.argv) > 1 else 1)))
