"""Elections by the thousand: what the thesis and the paper measured, and why it may be believed.

Three things hold each other: the published rates, an oracle that knows nothing of `Raft` (a closed
form for fixed latencies, dice for variable ones), and a few elections of a whole `Cluster`.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import ceil, comb, inf, sqrt
from random import Random

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.check import downtime, figure_16, split_votes
from kvlearn.check.elections import (
    THESIS_SPLIT_VOTES,
    THESIS_WAN_S,
    TICK_S,
    WAN_LATENCY_S,
    WAN_TIMEOUT_S,
    Downtime,
    Election,
    SplitVotes,
)
from kvlearn.cli import bench
from kvlearn.events import BecameCandidate, BecameLeader
from kvlearn.raft import ConfState, HardState, Raft
from kvlearn.sim.network import Links

CELLS = sorted(THESIS_SPLIT_VOTES)


# The oracle: no Raft in it -------------------------------------------------------------------


def closed_form(size: int, alive: int, latency: float) -> float:
    """How many votes split if every message takes exactly `latency`.

    The first to time out gets the votes of all who time out more than a latency later. So a vote
    is split if too many of the others come within it, and as the first one's place does not matter
    in the end, these are the chances of `alive` dice that each fall below `latency`.
    """
    least = alive - size // 2  # so many besides the first, and it has no majority
    return sum(
        comb(alive, k) * latency**k * (1 - latency) ** (alive - k) for k in range(least, alive + 1)
    )


def dice(size: int, alive: int, low: float, high: float, trials: int) -> float:
    """The thesis' small simulation: timeouts, first come first served, and who has a majority."""
    luck, split = Random(f"dice {size} {alive} {low} {high}"), 0
    for _ in range(trials):
        queue = [(luck.random(), voter, voter) for voter in range(alive)]  # (when, whom, for whom)
        heapify(queue)
        votes: dict[int, int] = {}
        while queue:
            time, voter, candidate = heappop(queue)
            if voter in votes:
                continue
            votes[voter] = candidate
            if voter == candidate:
                for other in set(range(alive)) - {voter}:
                    heappush(queue, (time + luck.uniform(low, high), other, voter))
        chosen = list(votes.values())
        split += max(map(chosen.count, chosen)) <= size // 2
    return split / trials


@pytest.mark.parametrize("cell", CELLS)
def test_the_oracle_knows_the_table_of_the_thesis(cell):
    assert closed_form(*cell) == pytest.approx(THESIS_SPLIT_VOTES[cell], abs=0.0006)


def test_the_two_oracles_agree():
    for size, alive, latency in ((5, 3, 0.2), (9, 6, 0.2)):
        rate, trials = closed_form(size, alive, latency), 3_000
        assert abs(dice(size, alive, latency, latency, trials) - rate) < 4 * sigma(rate, trials)


def sigma(rate: float, trials: int) -> float:
    return sqrt(rate * (1 - rate) / trials)


# What was published --------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_votes_split_as_often_as_in_the_thesis(cell):
    """Thesis 9.2, within one percentage point, which is 2.5 standard errors of so many trials."""
    told = THESIS_SPLIT_VOTES[cell]
    measured = split_votes(*cell, trials=max(2_000, ceil(2.5**2 * told * (1 - told) / 0.01**2)))
    assert abs(measured.rate - told) <= 0.01, f"{measured}; the thesis has {told:.2%}"
    assert abs(measured.rate - closed_form(*cell)) < 4 * measured.error


@pytest.mark.parametrize(("alive", "told"), [(4, 0.16), (3, 0.40)])
def test_votes_split_as_often_where_latencies_vary(alive, told):
    """Thesis 9.2: latencies of 0.1 to 0.2, "about 16 %" and "nearly 40 %"."""
    measured = split_votes(5, alive, (0.1, 0.2), trials=6_000)
    rolled = dice(5, alive, 0.1, 0.2, trials=6_000)
    assert abs(measured.rate - told) < 0.02
    assert abs(measured.rate - rolled) < 4 * sqrt(2) * measured.error


@pytest.mark.parametrize(("failed", "most_s"), [(1, 1.5), (2, 3.0)])
def test_a_wide_network_is_without_a_leader_for_as_long_as_in_the_thesis(failed, most_s):
    """Thesis 9.4: the means within a tenth, and 99.9 % of the elections within `most_s`."""
    measured = downtime(5, failed, WAN_LATENCY_S, WAN_TIMEOUT_S, trials=5_000)
    assert measured.mean == pytest.approx(THESIS_WAN_S[failed], rel=0.1)
    assert measured.within(1.1 * most_s) >= 0.999
    assert measured.quantile(0.001) > 0.3 + 2 * 0.030, "a timeout and two ways at least"


def test_figure_16_bends_where_the_paper_says():
    """Paper 9.3: without randomness there is no end; 5 ms of it help, and 50 ms against the worst;
    shorter timeouts make all of it shorter."""
    same = figure_16((0.150, 0.150), trials=20, limit_s=10.0)
    assert same.within(10.0) == 0.0 and same.mean == inf
    by_ms = {
        spread: figure_16((0.150, 0.150 + spread / 1000), trials=1_000)
        for spread in (5, 25, 50, 150)
    }
    assert 0.25 < by_ms[5].median < 0.32, "most need a second round: 287 ms in the paper"
    assert by_ms[25].median < 0.6 * by_ms[5].median, "most need one round only"
    assert by_ms[25].median < by_ms[50].median < by_ms[150].median, "the wait itself is longer"
    assert by_ms[50].longest < 0.7 < by_ms[5].longest, "the worst of 1,000: 513 ms in the paper"
    scaled = [figure_16((low, 2 * low), trials=1_000) for low in (0.012, 0.025, 0.050, 0.100)]
    means = [line.mean for line in (*scaled, by_ms[150])]
    assert means == sorted(means)
    assert 0.025 < means[0] < 0.045 and scaled[0].longest < 0.2, "35 ms and 152 ms in the paper"


def test_figure_16_keeps_its_order_where_messages_take_all_of_the_15_ms():
    slow = {
        spread: figure_16((0.150, 0.150 + spread / 1000), trials=300, latency_s=(0.007, 0.008))
        for spread in (5, 25, 50)
    }
    assert slow[5].median > 0.6 and slow[25].median < 0.3
    assert slow[50].mean < slow[25].mean < slow[5].mean < 2.0


# Why it may be believed ----------------------------------------------------------------------

CONFIG = RaftConfig(
    tick_s=TICK_S, heartbeat_ticks=50_000, election_ticks=100_000, max_election_ticks=200_000
)


def told_by_cluster(size: int, alive: int, latency_s: float, seed: int) -> list[tuple]:
    """(time, node, event) of who stood and who won, in a whole cluster, until somebody leads."""
    cluster = Cluster(size, seed, CONFIG, links=Links((latency_s, latency_s)), fsync_s=(0, 0))
    for name in list(cluster.nodes)[alive:]:
        cluster.crash(name)
    cluster.wait_for_leader()
    kinds = (BecameCandidate, BecameLeader)
    return [(r.time, r.node, r.event) for r in cluster.trace if isinstance(r.event, kinds)]


def told_by_election(size: int, alive: int, latency_s: float, seed: int) -> list[tuple]:
    """The same in an `Election` whose members have the same luck."""
    conf = ConfState(tuple(f"n{k}" for k in range(1, size + 1)))
    heard: list[tuple] = []
    members = {}
    for name in conf.voters[:alive]:
        luck = Random(f"{seed}/{name}")
        luck.random()  # the phase of its clock, of which a tick is the most

        def emit(event, name=name):
            if isinstance(event, (BecameCandidate, BecameLeader)):
                heard.append((election.now * TICK_S, name, event))

        members[name] = Raft(name, conf, CONFIG, luck, emit, HardState())
    ticks = round(latency_s / TICK_S)
    election = Election(members, (ticks, ticks), Random(0))
    while election.step().role != "leader":
        pass
    return heard


@pytest.mark.parametrize(("size", "alive"), [(5, 4), (5, 3), (9, 6), (1, 1)])
def test_a_whole_cluster_with_the_same_luck_tells_the_same(size, alive):
    terms = set()
    for seed in range(8):
        cluster = told_by_cluster(size, alive, 0.02, seed)
        election = told_by_election(size, alive, 0.02, seed)
        assert [who for _, *who in election] == [who for _, *who in cluster]
        for (mine, *_), (theirs, *_) in zip(election, cluster):
            assert mine == pytest.approx(theirs, abs=20e-6), "beside it by more than some ticks"
        terms.add(election[-1][2].term)
    assert terms > {1} or alive == 1, "no vote split in these seeds, so they show little"


def test_the_rule_of_the_one_vote_is_what_splits_votes():
    class VotesForAll(Raft):
        def may_vote_for(self, candidate):
            return True

    assert split_votes(9, 5, 0.2, trials=200, raft=VotesForAll).split == 0
    assert split_votes(9, 5, 0.2, trials=200).split > 100


def test_whoever_has_all_the_time_in_the_world_splits_no_vote():
    assert split_votes(5, 3, 0.0, trials=300).split == 0
    assert split_votes(5, 5, 0.2, trials=300).rate < split_votes(5, 4, 0.2, trials=300).rate


def test_the_same_seed_counts_the_same():
    assert split_votes(5, 3, 0.2, trials=300, seed=4) == split_votes(5, 3, 0.2, trials=300, seed=4)
    wan = [downtime(5, 2, WAN_LATENCY_S, WAN_TIMEOUT_S, 50, seed).times_s for seed in (4, 4, 5)]
    assert wan[0] == wan[1] != wan[2]


@pytest.mark.parametrize("seed", range(5))
def test_from_where_to_where_the_time_is_taken(seed):
    """One election at a time, so that the luck is the same up to its end."""

    def once(**about):
        return downtime(5, 1, 0.02, (0.3, 0.6), trials=1, seed=seed, **about).longest

    assert once(heard=True) == pytest.approx(once() + 0.02), "a leader is heard one way later"
    early = [once() - once(heartbeat_s=most) for most in (0.1, 0.2)]
    assert 0 < early[0] < 0.1 and early[1] == pytest.approx(2 * early[0])


def test_who_may_not_win_may_still_spoil_a_vote():
    """Where no two logs of three are alike one node can win, and that is not always the first."""
    alike, different = (
        downtime(5, 2, WAN_LATENCY_S, WAN_TIMEOUT_S, trials=1_000, logs_differ=differ)
        for differ in (False, True)
    )
    assert different.mean > 1.15 * alike.mean and different.median > 1.15 * alike.median


def test_a_slow_network_never_ends_in_a_false_leader():
    """One way is longer than the timeouts: who wins is overthrown before anybody hears of it."""
    measured = downtime(3, 1, 0.5, (0.1, 0.2), trials=3, heard=True, limit_s=20)
    assert measured.times_s == (inf,) * 3 and "endless" in str(measured)


# How it shows itself -------------------------------------------------------------------------


def test_rates_come_with_their_standard_error():
    counted = SplitVotes(5, 3, (0.2, 0.2), trials=10_000, split=4_880)
    assert counted.rate == 0.488 and counted.error == pytest.approx(0.005, abs=1e-4)
    never = SplitVotes(5, 4, (0.01, 0.02), trials=100, split=0)
    assert never.rate == 0 < never.error < 0.02
    text = "0.0 % ± 1.0 of 100 elections split"
    about = "(5 nodes, 4 alive, latency 0.01–0.02 of the timeout range)"
    assert str(never) == f"{text} {about}" and str(never) in never._repr_html_()
    assert repr(never) == f"<SplitVotes {never}>"


def test_downtimes_know_their_quantiles():
    some = Downtime(5, 1, (0.15, 0.3), (0.2, 0.3, 0.3, 1.2))
    assert (some.mean, some.median, some.longest) == (pytest.approx(0.5), 0.3, 1.2)
    assert (some.quantile(0.25), some.quantile(0.26), some.quantile(1)) == (0.2, 0.3, 1.2)
    assert (some.within(0.1), some.within(0.3), some.within(2)) == (0, 0.75, 1)
    text = "mean 500 ms, median 300 ms, longest 1,200 ms of 4 elections"
    assert str(some) == f"{text} (5 nodes, 1 failed, 150–300 ms)"
    assert repr(some) == f"<Downtime {some}>" and str(some) in some._repr_html_()
    with pytest.raises(ValueError, match="above 0"):
        some.quantile(0)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: split_votes(5, 2, 0.1), "2 of 5 nodes alive: .* 3 at least"),
        (lambda: split_votes(5, 6, 0.1), "no more than there are"),
        (lambda: split_votes(5, 4, -0.1), "latency is one number from 0 on"),
        (lambda: split_votes(5, 4, (0.2, 0.1)), "latency is"),
        (lambda: split_votes(5, 4, (0.1, 0.2, 0.3)), "latency is"),
        (lambda: split_votes(5, 4, 0.1, trials=0), "trials is at least 1"),
        (lambda: downtime(5, 3, 0.01, (0.1, 0.2)), "2 of 5 nodes alive"),
        (lambda: downtime(5, 1, 0.01, (0.2, 0.1)), "timeout_s is"),
        (lambda: downtime(5, 1, 0.01, (0.1, 0.2), limit_s=0), "limit_s above 0"),
        (lambda: downtime(5, 1, 0.01, (0.1, 0.2), heartbeat_s=-1), "heartbeat_s"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(call, why):
    with pytest.raises(ValueError, match=why):
        call()


def test_the_bench_puts_the_thesis_beside_what_it_measured(capsys, monkeypatch):
    monkeypatch.setattr(bench, "ELECTIONS", 20)
    assert bench.main(["elections", "--rounds", "2"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == "elections (up to 40 a row)"
    assert len(rows) == len(THESIS_SPLIT_VOTES) + len(THESIS_WAN_S) + 5
    cell = next(row for row in rows if "9 nodes, 5 alive, latency 0.2" in row)
    assert "thesis 67.20" in cell and f"{100 * split_votes(9, 5, 0.2, 40).rate:.1f} %" in cell
