"""The hand-cranked cluster does what it is told, in whatever order, and nothing else."""

from __future__ import annotations

import copy
from collections import Counter
from random import Random

import pytest

from kvlearn.course.mutants import VotesForStaleLogs
from kvlearn.events import (
    AskedPreVote,
    BecameLeader,
    Crashed,
    Dropped,
    Received,
    Saved,
    Sent,
    Started,
    Truncated,
)
from kvlearn.kv.requests import Put, Range
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import Entry, HardState
from kvlearn.sim.bench import MOVE_S, Bench, memory


def elected(**options) -> Bench:
    """Three nodes, led by n1, at rest."""
    bench = Bench(3, **options)
    bench.campaign("n1")
    bench.stabilize()
    assert bench.hosts["n1"].node.raft.role == "leader" and not bench.pool
    return bench


def terms(bench: Bench, name: str) -> list[int]:
    return [entry.term for entry in bench.hosts[name].node.raft.log.entries]


# One thing at a time ----------------------------------------------------------------------------


def test_nothing_happens_by_itself():
    bench = Bench(3)
    start = len(bench.trace)
    for name in bench.hosts:
        bench.ready(name)
    bench.stabilize()
    assert len(bench.trace) == start and not bench.pool


def test_a_promise_leaves_after_the_disk_has_it():
    bench = Bench(3)
    bench.campaign("n1")
    assert bench.write("n1") and not bench.pool
    assert not bench.write("n1"), "one Ready at a time"
    assert bench.save("n1") and not bench.save("n1") and not bench.pool
    bench.ready("n1")
    assert [parcel.link for parcel in bench.pool] == ["n1→n2", "n1→n3"]


def test_a_leaders_entries_leave_before():
    bench = elected()
    bench.ask("n1", Put(b"k", b"v"))
    bench.write("n1")
    assert [str(parcel) for parcel in bench.pool] == [
        "n1→n2 App 1@1→2@1",
        "n1→n3 App 1@1→2@1",
    ]
    assert len(bench.hosts["n1"].disk.entries) == 1


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_crash_loses_what_was_not_forced(kept):
    bench = elected()
    for value in (b"1", b"2"):
        bench.ask("n1", Put(b"k", value))
    bench.write("n1")
    bench.crash("n1", kept)
    assert len(bench.hosts["n1"].disk.entries) == 1 + kept
    bench.start("n1")
    assert terms(bench, "n1") == [1] * (1 + kept)


def test_the_client_of_a_crashed_node_does_not_know():
    bench = elected()
    op_id = bench.ask("n1", Put(b"k", b"v"))
    assert not bench.desk.operations[op_id].done
    bench.crash("n1")
    assert "n1 crashed before it answered" in str(bench.desk.operations[op_id].error)
    refused = bench.ask("n1", Range(b"k"))
    assert "n1 is down" in str(bench.desk.operations[refused].error)


def test_time_passes_with_moves_and_ticks():
    bench = Bench(3, config=RaftConfig.etcd())
    bench.campaign("n1")
    assert bench.now == pytest.approx(MOVE_S)
    bench.tick("n2")
    assert bench.now == pytest.approx(MOVE_S + 0.1)
    assert bench.hosts["n2"].node.raft.now == 1 and bench.hosts["n1"].node.raft.now == 0


def test_what_disks_hold_is_where_nodes_begin():
    held = memory([1, 1, 4], term=6, vote="n3", commit=2)
    assert held == (HardState(6, "n3", 2), (Entry(1, 1), Entry(2, 1), Entry(3, 4)))
    bench = Bench(3, disks={"n2": held})
    raft = bench.hosts["n2"].node.raft
    assert (raft.term, raft.vote, raft.log.committed) == (6, "n3", 2)
    bench.ready("n2")
    assert bench.hosts["n2"].node.machine.applied == 2
    (started,) = bench.trace.of(Started, node="n2")
    assert started.event.entries == held[1]


# The story --------------------------------------------------------------------------------------


def test_every_record_has_its_cause():
    bench = elected()
    bench.ask("n2", Put(b"k", b"v"))
    bench.stabilize()
    trace = bench.trace
    for record in trace.of(Received):
        sent = trace[record.cause]
        assert isinstance(sent.event, Sent) and sent.event.packet == record.event.packet
    last = next(record for record in reversed(trace[:]) if record.node == "c1")
    kinds = [type(record.event).__name__ for record in trace.causes(last.seq)]
    assert kinds[-1] == "Invoked", "an answer leads back to its question"
    assert kinds.count("Received") == 4  # the proposal, its entries, the answer, the commit


def test_messages_cause_what_they_cause_even_when_they_wait():
    """Two requests arrive during a save: each answer points at its own."""
    bench = elected()
    bench.ask("n1", Put(b"k", b"v"))
    bench.ready("n1")
    bench.tick("n1")
    bench.ready("n1")
    for parcel in bench.select(target="n2"):
        bench.deliver(parcel)
        bench.write("n2")
    bench.ready("n2")
    answers = {str(r.event.message): r for r in bench.trace.of(Sent, node="n2", start=0)}
    for text, question in ("Ack 2", "App 1@1→2@1"), ("Beat ok", "Beat"):
        received = [r for r in bench.trace.causes(answers[text].seq) if type(r.event) is Received]
        assert str(received[0].event.message) == question


def test_the_fate_of_every_message_is_told():
    bench = elected()
    bench.cut("n1", "n2")
    bench.tick("n1")
    bench.ready("n1")
    (kept,) = bench.pool
    bench.crash("n3")
    bench.deliver(kept)
    fates = [(r.event.reason, r.node) for r in bench.trace.of(Dropped)]
    assert fates == [("CUT", "n2"), ("DOWN", "n3")]
    ended = {r.event.packet for r in bench.trace.of(Received, Dropped)}
    assert ended == {r.event.packet for r in bench.trace.of(Sent)}


def test_a_bench_can_be_copied_in_mid_flight():
    bench = elected()
    bench.ask("n1", Put(b"k", b"v"))
    bench.write("n1")
    twin = copy.deepcopy(bench)
    before = len(bench.trace)
    twin.stabilize()
    assert len(bench.trace) == before and len(bench.pool) == 2
    bench.stabilize()
    assert list(bench.trace.lines()) == list(twin.trace.lines())


# What cannot be done ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "move, why",
    [
        (lambda bench: bench.tick("n4"), "there is no node 'n4'; the nodes are n1, n2, n3"),
        (lambda bench: bench.start("n1"), "n1 is running"),
        (lambda bench: bench.resume("n1"), "n1 is not paused"),
        (lambda bench: bench.campaign("n1"), "n1 leads already"),
        (lambda bench: bench.crash("n1", 2), "of 1 unforced records n1 cannot keep 2"),
        (lambda bench: (bench.crash("n1"), bench.ready("n1")), "n1 is down; start it first"),
        (lambda bench: (bench.pause("n1"), bench.tick("n1")), "n1 is paused; resume it first"),
        (lambda bench: (bench.pause("n1"), bench.ask("n1", Range(b"k"))), "n1 is paused"),
        (lambda bench: bench.partition(["n1"], ["n1"]), "a node can be in one group only"),
        (lambda bench: bench.partition(["n1", "n2", "n3"]), "a partition needs two groups"),
        (lambda bench: Bench(10), "a cluster has 1 to 9 nodes, not 10"),
        (lambda bench: Bench(3, disks={"n4": memory([1])}), "there is no node 'n4'"),
    ],
)
def test_it_says_so(move, why):
    with pytest.raises(ValueError, match=why.replace("?", r"\?")):
        move(elected())


def test_a_refused_move_leaves_no_trace():
    bench = elected()
    before = (len(bench.trace), bench.now)
    for move in (bench.start, bench.campaign, bench.resume):
        with pytest.raises(ValueError):
            move("n1")
    assert (len(bench.trace), bench.now) == before


def test_a_proposal_is_never_doubled():
    bench = elected()
    bench.ask("n2", Put(b"k", b"v"))
    bench.ready("n2")
    with pytest.raises(ValueError, match="the transport never doubles"):
        bench.duplicate(bench.pool[0])


# Any order ----------------------------------------------------------------------------------------


def shuffled(seed: int, moves: int = 400, raft: type[Raft] = Raft) -> Bench:
    """Moves, messages and crashes in any order that a real cluster could see."""
    random = Random(seed)
    limits = {
        "max_entries_per_message": random.choice((1, 2, 64)),
        "max_inflight": random.choice((1, 256)),
    }
    config = RaftConfig.etcd(**limits) if seed % 2 else RaftConfig(**limits)
    bench = Bench(random.choice((2, 3, 3, 4, 5)), raft, config=config, seed=seed)
    for _ in range(moves):
        any_move(bench, random)
        for parcel in random.sample(bench.pool, min(len(bench.pool), random.randint(0, 3))):
            chance = random.random()
            if chance < 0.08:
                bench.drop(parcel)
            elif chance < 0.14 and not parcel.message.at_most_once:
                bench.duplicate(parcel)
                bench.pool[-1].held = False
            elif chance < 0.95:
                bench.deliver(parcel)
    return bench


def any_move(bench: Bench, random: Random) -> None:
    name = random.choice(list(bench.hosts))
    host, chance = bench.hosts[name], random.random()
    if host.node is None:
        if chance < 0.4:
            bench.start(name)
    elif chance < 0.02 and host.node.raft.role != "leader":
        bench.campaign(name)
    elif chance < 0.06:
        bench.tick(name)
    elif chance < 0.07:
        bench.crash(name, random.randint(0, len(host.disk.pending)))
    elif chance < 0.2:
        bench.ask(name, random.choice((Put(b"k", b"v"), Range(b"k"))))
    elif chance < 0.3:
        random.choice((bench.write, bench.save))(name)
    elif chance < 0.75:
        bench.ready(name)


@pytest.mark.parametrize("seed", range(120))
def test_any_order_of_events_keeps_the_promises_and_comes_to_rest(seed):
    bench = shuffled(seed)
    assert bench.check().ok, bench.check()
    for name, host in bench.hosts.items():
        if host.node is None:
            bench.start(name)
    rafts = [host.node.raft for host in bench.hosts.values()]
    for _ in range(200):  # ticks; every node's election timeout is at most 19
        for name in bench.hosts:
            bench.tick(name)
        bench.stabilize()
        ends = {(raft.log.last, raft.log.committed, raft.term) for raft in rafts}
        if len(ends) == 1 and [raft.role for raft in rafts].count("leader") == 1:
            break
    else:
        pytest.fail(f"no agreement within 200 ticks (seed {seed})")
    assert bench.check().ok, bench.check()


def test_the_random_moves_reach_deep():
    """They lead to crashes in the middle of a save, to many leaders, and to overwritten entries."""
    counts = Counter(type(r.event) for seed in range(60) for r in shuffled(seed).trace)
    assert counts[Crashed] > 120 and counts[BecameLeader] > 80
    assert counts[Truncated] > 5 and counts[Saved] > 1000 and counts[AskedPreVote] > 100


def test_the_random_moves_find_a_broken_rule():
    found = []
    for seed in range(120):
        try:
            found += shuffled(seed, raft=VotesForStaleLogs).check().broken
        except AssertionError:
            continue  # a leader whose log is too short for its followers falls over
    assert "Leader Completeness" in {verdict.promise for verdict in found}
