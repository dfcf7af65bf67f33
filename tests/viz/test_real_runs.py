"""Moments of real runs: the fold of the records is what the nodes themselves say."""

import random
from xml.etree import ElementTree

import pytest

from kvlearn.errors import RequestError
from kvlearn.sim import Cluster
from kvlearn.trace import Trace
from kvlearn.viz import Timeline, logs, picture, ring, spacetime, states
from kvlearn.viz.moment import Moment


def trouble(cluster, rng):
    """One random fault, or its end."""
    names = sorted(cluster.nodes)
    name = rng.choice(names)
    view = cluster.nodes[name]
    match rng.randrange(7):
        case 0 if view.alive:
            cluster.crash(name)
        case 0 | 1 if not view.alive:
            cluster.restart(name)
        case 2 if view.alive:
            (cluster.resume if view.paused else cluster.pause)(name)
        case 3:
            rng.shuffle(names)
            cluster.partition(names[:2], names[2:])
        case 4:
            cluster.cut(*rng.sample(names, 2), one_way=rng.random() < 0.5)
        case 5:
            cluster.heal()
        case 6:
            cluster.links.loss = rng.choice((0.0, 0.1))
            cluster.links.duplicate = rng.choice((0.0, 0.1))


def troubled(seed, rounds=25):
    """A cluster with puts and faults; yields it after each round."""
    rng = random.Random(seed)
    cluster = Cluster(5 if seed % 2 else 3, seed=seed)
    cluster.wait_for_leader()
    for number in range(rounds):
        trouble(cluster, rng)
        if cluster.leader and rng.random() < 0.7:
            try:
                cluster.client(cluster.leader, timeout_s=0.5).put(f"k{number}", f"v{number}")
            except RequestError:
                pass  # nobody could answer: faults are the point here
        cluster.run(rng.random())
        yield cluster


@pytest.mark.parametrize("seed", range(6))
def test_a_moment_says_what_the_nodes_say(seed):
    timeline = None
    for cluster in troubled(seed):
        timeline = timeline or Timeline(cluster.trace)
        moment = timeline.at()
        assert moment.names == sorted(cluster.nodes)
        assert moment.leader == cluster.leader
        assert moment.cuts == set(cluster.cuts)
        on_wire = {p.number for p in cluster.in_flight}
        # What arrived at a paused node has not been received: to the trace it is still on its way.
        late = {n for n, p in moment.packets.items() if moment.nodes[p.target].paused}
        assert on_wire - late == set(moment.packets) - late
        for name, view in cluster.nodes.items():
            node = moment.nodes[name]
            told = (node.role, node.term, node.vote, node.commit, tuple(node.log))
            assert told == (view.role, view.term, view.vote, view.commit, view.log), (name, node)
            assert node.leader == view.leader, name
            if view.alive:
                assert (node.applied, node.revision) == (view.applied, view.revision), name


def test_progress_is_what_the_leader_knows():
    for seed in range(4):
        for cluster in troubled(seed, 12):
            moment = Moment.at(cluster.trace)
            for name, host in cluster._hosts.items():
                if host.node is None or host.node.raft.role != "leader":
                    continue
                knows = {peer: (p.match, p.next) for peer, p in host.node.raft.progress.items()}
                told = moment.nodes[name].progress
                assert {p: (k.match, k.next) for p, k in told.items()} == {
                    peer: known for peer, known in knows.items() if peer != name
                }


def test_election_timers_are_those_of_the_nodes():
    cluster = Cluster(5, seed=3)
    for _ in range(40):
        cluster.run(0.171)
        moment = Moment.at_time(cluster.trace, cluster.now)
        for name, host in cluster._hosts.items():
            raft, node = host.node.raft, moment.nodes[name]
            if raft.role == "leader":
                assert node.timer_left(cluster.now) is None
                continue
            runs_out = host.own_clock.when(raft.deadline * node.tick_s)
            # A tick is where Raft looks at its clock, so the arc may be off by one.
            assert abs(node.timer_reset_s + node.timeout_s - runs_out) <= 1.01 * node.tick_s


@pytest.mark.parametrize("draw", [ring, logs, spacetime, states, picture])
def test_a_saved_run_draws_the_same_bytes(draw, tmp_path):
    *_, cluster = troubled(1, 8)
    drawn = draw(cluster.trace)
    cluster.trace.save(tmp_path / "run.jsonl")
    again = draw(Trace.load(tmp_path / "run.jsonl"))
    assert drawn.svg() == again.svg() and drawn.html() == again.html()
    assert drawn.text == again.text
    ElementTree.fromstring(drawn.svg())


def test_every_moment_of_a_run_can_be_drawn():
    *_, cluster = troubled(5, 10)
    timeline = Timeline(cluster.trace)
    for seq in range(-1, len(cluster.trace), 97):
        moment = timeline.at(seq)
        for drawn in (ring(moment), logs(moment)):
            ElementTree.fromstring(drawn.html())


def test_a_bare_cluster_shows_ring_and_logs():
    cluster = Cluster(3, seed=1)
    leader = cluster.wait_for_leader()
    bundle = cluster._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/svg+xml", "text/plain"}
    assert f"{leader} leads" in bundle["text/plain"]
    assert 'data-kv-entry="1@1"' in bundle["text/html"]
    assert f'data-kv-leader="{leader}"' in bundle["text/html"]
