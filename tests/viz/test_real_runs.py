"""Moments of real runs: the fold of the records is what the nodes themselves say."""

import random
from xml.etree import ElementTree

import pytest

from kvlearn.errors import RequestError
from kvlearn.kv.members import MemberAdd, MemberChange, MemberPromote, MemberRemove, MoveLeader
from kvlearn.kv.requests import Put
from kvlearn.raft.config import RaftConfig
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


def churn(cluster, rng):
    """One random change of members, transfer of leadership, compaction, or some writes."""
    names = list(cluster.nodes)
    name, running = rng.choice(names), [n for n in names if cluster.nodes[n].alive]
    asked = cluster.leader or rng.choice(running or names)
    match rng.randrange(9):
        case 0 if len(names) < 8:
            cluster.add_node(f"n{len(names) + 1}", learner=rng.random() < 0.5)
        case 0 | 1:
            cluster.submit(MemberAdd(name, rng.random() < 0.5), asked)
        case 2 if len(cluster.nodes[asked].conf.voters) > 2:
            cluster.submit(MemberRemove(name), asked)
        case 3:
            cluster.submit(MemberPromote(name), asked)
        case 4:
            cluster.submit(MoveLeader(name), asked)
        case 5 if cluster.nodes[name].alive and not cluster.nodes[name].paused:
            cluster.compact(name, rng.randrange(3))
        case 6:
            come, gone = rng.sample(names, 2)
            how = rng.choice(("implicit", "explicit"))
            cluster.submit(MemberChange((come,), (), (gone,), how), asked)
        case 7:
            cluster.submit(MemberChange(), asked)
        case 8:
            for number in range(rng.randrange(6)):
                cluster.submit(Put(b"k%d" % number, b"v"), asked)


def churned(seed, rounds=50):
    """A cluster whose members come and go, with faults and short logs; yields it often."""
    rng = random.Random(seed)
    config = RaftConfig.etcd(snapshot_entries=8, kept_entries=3, chunk_records=2)
    cluster = Cluster(3 if seed % 2 else 5, seed=seed, config=config)
    for _ in range(rounds):
        (trouble if rng.random() < 0.4 else churn)(cluster, rng)
        for _ in range(5):
            cluster.run(rng.random() * 0.2)
            yield cluster


def of_moment(node):
    """What a moment says of a node, as `of_raft` says it."""
    told = [node.role, node.term, node.vote, node.leader, node.commit]
    told += [node.conf, node.base, tuple(node.log)]
    if node.alive:
        known = {peer: tuple(progress) for peer, progress in node.progress.items()}
        coming = (node.incoming.last, node.incoming.records) if node.incoming else None
        votes = node.votes if node.raft_role == "candidate" else {}
        told += [node.applied, node.revision, votes, node.pre_votes, known, coming]
        told.append(node.transferee)
    return told


def of_raft(view, host):
    told = [view.role, view.term, view.vote, view.leader, view.commit]
    told += [view.conf, view.base, view.log]
    if view.alive:
        raft = host.node.raft
        known = {peer: (p.match, p.next, p.state) for peer, p in raft.progress.items()}
        whose, records = raft.incoming
        coming = (whose[-1], len(records)) if records else None
        told += [view.applied, view.revision]
        told += [raft.votes if raft.role == "candidate" else {}, raft.votes if raft.asking else {}]
        told += [known, coming, raft.transferee]
    return told


def test_moments_follow_members_snapshots_and_transfers():
    seen = set()
    for seed in (11, 21, 24, 36):
        timeline = None
        for cluster in churned(seed):
            timeline = timeline or Timeline(cluster.trace)
            moment = timeline.at()
            assert set(moment.names) == set(cluster.nodes)
            for name, view in cluster.nodes.items():
                node, live = moment.nodes[name], of_raft(view, cluster._hosts[name])
                assert of_moment(node) == live, (seed, cluster.now, name)
                words = ("incoming", "pre_votes", "transferee")
                seen |= {node.role} | {word for word in words if getattr(node, word)}
                seen |= {"joint"} if node.conf.outgoing else set()
                seen |= {"compacted"} if node.base.index else set()
    roles = {"leader", "candidate", "follower", "learner", "outside", "down", "paused"}
    assert seen == roles | {"incoming", "pre_votes", "transferee", "joint", "compacted"}


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


@pytest.mark.parametrize("seed", [11, 24])
def test_every_moment_of_a_run_whose_members_change_can_be_drawn(seed):
    *_, cluster = churned(seed)
    timeline = Timeline(cluster.trace)
    for seq in range(-1, len(cluster.trace), 41):
        moment = timeline.at(seq)
        for drawn in (ring(moment), logs(moment)):
            ElementTree.fromstring(drawn.html())
    for drawn in (spacetime(cluster), states(cluster)):
        ElementTree.fromstring(drawn.svg())


def test_a_bare_cluster_shows_ring_and_logs():
    cluster = Cluster(3, seed=1)
    leader = cluster.wait_for_leader()
    bundle = cluster._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/svg+xml", "text/plain"}
    assert f"{leader} leads" in bundle["text/plain"]
    assert 'data-kv-entry="1@1"' in bundle["text/html"]
    assert f'data-kv-leader="{leader}"' in bundle["text/html"]
