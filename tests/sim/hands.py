"""What hands do to a cluster, at random: as a panel sends it, and as a program does it.

python -m tests.sim.hands 7          plays the panel's seed 7 and prints its code
"""

import sys
from random import Random

from kvlearn import Cluster, Links, RaftConfig
from kvlearn.errors import RequestError, Violation
from kvlearn.kv.leases import Compact, LeaseGrant
from kvlearn.kv.members import MoveLeader
from kvlearn.kv.requests import DeleteRange, Put, Range, prefix_end
from kvlearn.kv.txn import Compare, Txn
from kvlearn.kv.watches import WatchCreate

KEYS = (b"a", b"b", b"k1", b"k2", b"stock", b"cfg/x")


def panel(seed: int, verbs: int = 200, size: int = 5) -> Cluster:
    """A student at the bench: time goes on by steps, to the next decision, by playing; and at each
    stop one thing is done."""
    rng = Random(f"panel {seed}")
    cluster = Cluster(size, seed=seed)
    client = cluster.client()
    cluster.wait_for_leader()
    while len(cluster._done) < verbs:
        match rng.randrange(4):
            case 0:
                for _ in range(rng.randrange(1, 30)):
                    cluster.step()
            case 1:  # where the cursor stands, in whole microseconds
                cluster.run_to(round(cluster.now * 1e6 + rng.randrange(1, 900_000)) / 1e6)
            case 2:
                cluster.run(rng.choice((0.05, 0.1, 0.5)))
        (wire, mend, ask, ask, follow)[rng.randrange(5)](cluster, rng, client)
    cluster.run_to(round(cluster.now + rng.random(), 3))
    return cluster


def program(seed: int, verbs: int = 60) -> Cluster:
    """Somebody's Python, who waits for answers, with networks and configs of all kinds."""
    rng = Random(f"program {seed}")
    links = Links((0.001, 0.001 + rng.random() / 50), rng.choice((0.0, 0.02)), 0.02, 0.05)
    config = rng.choice((RaftConfig.etcd(), RaftConfig.paper(), RaftConfig.paper(pre_vote=True)))
    cluster = Cluster(rng.choice((1, 3, 5)), seed, config, links=links, fsync_s=rng.random() / 99)
    clients = [cluster.client(timeout_s=1.0) for _ in range(3)]
    while len(cluster._done) < verbs:
        if rng.random() < 0.3:
            clients[rng.randrange(3)] = cluster.client(timeout_s=0.7)
        client = rng.choice(clients)
        try:
            cluster.run(rng.random() * rng.choice((0, 0.01, 1)))
            (wire, mend, ask, follow, call, tune)[rng.randrange(6)](cluster, rng, client)
        except (RequestError, ValueError, Violation, AssertionError):
            pass  # who is paused cannot ask, who is wiped breaks promises: the story goes on
    return cluster


def wire(cluster: Cluster, rng: Random, client) -> None:
    """A hand on a packet, or on the links."""
    if not cluster.in_flight or rng.random() < 0.3:
        names = list(cluster.nodes)
        if len(names) < 2 or rng.random() < 0.4:
            cluster.heal()
        elif rng.random() < 0.5:
            cluster.isolate(rng.choice(names))
        else:
            cluster.partition(rng.sample(names, rng.randrange(1, len(names))))
        return
    packet = rng.choice(cluster.in_flight)
    verb = rng.choice(("drop", "deliver", "delay", "duplicate"))
    if verb == "delay":
        cluster.delay(packet, rng.choice((0.06, rng.randrange(1, 100_000) / 1e6)))
    elif verb != "duplicate" or not packet.message.at_most_once:
        getattr(cluster, verb)(packet.number)


def mend(cluster: Cluster, rng: Random, client) -> None:
    """A hand on a node."""
    node = cluster.nodes[rng.choice(list(cluster.nodes))]
    if not node.alive:
        cluster.restart(node.name)
    elif node.paused:
        cluster.resume(node.name)
    elif node.name != cluster.leader and rng.random() < 0.3:
        cluster.campaign(node.name)
    else:
        rng.choice((cluster.crash, cluster.pause))(node.name)


def ask(cluster: Cluster, rng: Random, client) -> None:
    """A request for whose answer nobody waits."""
    key, value = rng.choice(KEYS), b"%d" % rng.randrange(100)
    lives = [name for name, node in cluster.nodes.items() if node.alive]
    node = cluster.leader or (lives or list(cluster.nodes))[0]
    revision = max([cluster.nodes[name].revision or 1 for name in cluster.nodes])
    stock = Compare(key, "value", "greater", value)
    request = rng.choice(
        (
            *(Put(key, value), Put(key, b"v" + value), Put(key, value, prev_kv=True), Range(key)),
            *(Range(key, prefix_end(key)), Range(key, revision=revision), DeleteRange(key)),
            *(Txn((stock,), (Put(key, value),), (Range(key),)), LeaseGrant(rng.randrange(2, 60))),
            *(Compact(rng.randint(1, revision)), MoveLeader(rng.choice(list(cluster.nodes)))),
        )
    )
    cluster.submit(request, node, "bench")


def follow(cluster: Cluster, rng: Random, client) -> None:
    """A hand on a client's watches and leases."""
    channel = client.channel
    node = rng.choice(list(cluster.nodes))
    match rng.randrange(6):
        case 0 | 1:
            channel.open_stream(
                node, WatchCreate(rng.choice(KEYS), start_revision=rng.randrange(9))
            )
        case 2:
            for stream in list(cluster._clients.streams)[-1:]:
                channel.close_stream(stream)
        case 3:
            leases = [one[0] for view in cluster.nodes.values() for one in view.leases or ()]
            if leases:
                channel.keep(rng.choice(leases), node, rng.choice((1.0, 10 / 3)))
        case 4:
            for _, lease in list(cluster._clients.keepers)[:1]:
                channel.unkeep(lease)
        case 5:
            if rng.random() < 0.5:
                cluster.submit(Range(b"a"), node, "bench")


def call(cluster: Cluster, rng: Random, client) -> None:
    """A call for whose answer somebody waits."""
    match rng.randrange(5):
        case 0:
            client.put("é€" * rng.randrange(4), bytes([rng.randrange(256)]))
        case 1:
            lease = client.lease(rng.randrange(2, 9))
            client.put("held", "x", lease=lease)
        case 2:
            client.watch("a", prefix=True)
        case 3:
            rng.choice((cluster.crash, cluster.pause, cluster.resume))(client.name)
        case 4:
            name = f"n{len(cluster.nodes) + 1}"
            if len(cluster.nodes) < 7:
                cluster.add_node(name, learner=rng.random() < 0.5)
                client.add_member(name, learner=rng.random() < 0.5)


def tune(cluster: Cluster, rng: Random, client) -> None:
    """A hand on what is set: clocks, disks, links, logs."""
    name = rng.choice(list(cluster.nodes))
    node = cluster.nodes[name]
    match rng.randrange(7):
        case 0:
            cluster.clock(name).rate = rng.choice((1, 0.9, rng.random() + 0.5))
        case 1:
            cluster.disk(name).fsync_s = rng.choice((0.001, (0.001, rng.random() / 10 + 0.001)))
        case 2:
            cluster.links.loss = rng.choice((0, 0.02, rng.random() / 5))
        case 3:
            cluster.links.latency_s = rng.choice((0.002, [0.001, 0.004]))
        case 4 if node.alive and not node.paused:
            cluster.compact(name, rng.randrange(3))
        case 5:
            cluster.wipe(name)
        case 6 if node.alive and not node.paused:
            cluster.forget_leader(name)


if __name__ == "__main__":
    print(panel(int(sys.argv[1]) if len(sys.argv) > 1 else 1).code())
