"""What lesson 09's prose says of its seeded runs is so, and its exercises judge as they should."""

from __future__ import annotations

import pytest

from kvlearn import Raft, RaftConfig
from kvlearn import check as checks
from kvlearn.check.service import service
from kvlearn.course import check, compare
from kvlearn.course.exercises import EXERCISES
from kvlearn.course.exercises.liveness import (
    ALONE,
    CONFIGS,
    DISTURBED,
    HANDED_OVER,
    OUTLIVED,
    TROUBLES,
    LoyalForEver,
    catch_up_s,
    claims_s,
    elections,
    latecomer,
    outage_s,
    returning,
    states_of,
    transfer_to_nobody,
    two_away,
)
from kvlearn.course.mutants import (
    HelpsDisturbers,
    LeadsAlone,
    ReadsForEver,
    ReadsWhileHandingOver,
)
from kvlearn.errors import RequestError
from kvlearn.events import BecameLeader, Refused, TransferAborted, TransferStarted


def plain(judgement) -> str:
    """Its text in one line."""
    return " ".join(str(judgement).split())


# Troubles -------------------------------------------------------------------------------------


def test_n5_was_away_for_long_and_n3_leads_the_others():
    cluster, leader, away = returning(RaftConfig())
    assert (leader, away, cluster.leader) == ("n3", "n5", "n3")
    assert cluster.nodes["n5"].term == 10
    assert {cluster.nodes[name].term for name in ("n1", "n2", "n3", "n4")} == {1}


def test_who_comes_back_deposes_the_leader_of_the_paper_s_raft_and_not_of_etcd_s():
    for config, deposed in ((RaftConfig(), True), (RaftConfig.etcd(), False)):
        cluster, leader, _ = returning(config)
        cluster.heal()
        cluster.run(5)
        assert (cluster.nodes[leader].role != "leader") is deposed


def test_only_both_remedies_keep_the_leader_through_every_trouble():
    table = elections()
    assert list(table.columns) == list(TROUBLES) and list(table.index) == list(CONFIGS)
    assert [bool(table.loc[name].any()) for name in CONFIGS] == [
        True,
        True,
        True,
        False,
    ]
    assert table.loc["plain", "loosely connected"] > 5  # it never ends
    assert table.loc["PreVote"].tolist()[:2] == [1, 1]
    assert table.loc["CheckQuorum"].tolist() == [1, 0, 0, 0]
    assert table.loc["plain", "one link of three is cut"] > 0


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_nobody_loses_a_write_in_these_troubles(name, trouble):
    cluster = TROUBLES[trouble](CONFIGS[name])
    assert checks.invariants(cluster.trace).ok and service(cluster.trace).ok


def test_a_leader_that_is_cut_off_leads_on_unless_it_asks_itself():
    times = {name: claims_s(config) for name, config in CONFIGS.items()}
    assert times["plain"] is times["PreVote"] is None
    assert 0.8 < times["CheckQuorum"] < 1.2 and 0.8 < times["both"] < 1.2


def test_a_pre_vote_costs_a_round_trip():
    plainly, asked = (
        checks.downtime(5, 1, (0.03, 0.04), (0.3, 0.6), pre_vote=ask)
        for ask in (False, True)
    )
    assert plainly.mean == pytest.approx(0.475, rel=0.03)  # thesis 9.4
    assert 0.060 < asked.mean - plainly.mean < 0.080


def test_the_stories_convict_their_mutants_and_no_other_promise_breaks():
    stories = [
        (DISTURBED, HelpsDisturbers, "Leader Stability"),
        (ALONE, LeadsAlone, "Leader Activity"),
        (OUTLIVED, ReadsForEver, "Fresh Reads"),
        (HANDED_OVER, ReadsWhileHandingOver, "Fresh Reads"),
    ]
    for story, mutant, promise in stories:
        assert mutant.promise == promise
        rows = compare(story, mutant).rows
        assert ("✓ every promise is kept" in [left for left, _ in rows]) is True
        assert any(right.startswith(f"✗ {promise} is broken") for _, right in rows)


def test_a_put_is_refused_at_once_or_never_answered():
    rows = compare(ALONE, LeadsAlone).rows
    assert any(
        "gets an error from n1: etcdserver: no leader" in left for left, _ in rows
    )
    assert not any("gets" in right for _, right in rows)


# Handing over, and sending ahead --------------------------------------------------------------


def test_handing_over_takes_some_hundredths_of_what_a_crash_takes():
    crash, move = (
        [outage_s(how, seed) for seed in range(20)] for how in ("crash", "move")
    )
    assert min(crash) > 0.9 and max(move) < 0.1


def test_a_hand_over_to_a_dead_node_ends_after_an_election_timeout():
    cluster, leader, heir = transfer_to_nobody()
    assert not cluster.nodes[heir].alive
    with pytest.raises(RequestError):
        cluster.client(leader, timeout_s=0.2).put("colour", "red")
    cluster.run(1.5)
    began, ended = (
        next(cluster.trace.of(kind)) for kind in (TransferStarted, TransferAborted)
    )
    assert 0.85 < ended.time - began.time < 1.15
    assert "leadership is on its way" in str(next(cluster.trace.of(Refused)))
    assert cluster.client().put("colour", "green").result and cluster.leader == leader


def test_a_latecomer_is_probed_and_then_replicated_to():
    cluster, _, late = latecomer()
    start = len(cluster.trace)
    cluster.run(2)
    first, second = states_of(cluster, late, start)
    assert "in state probe: match 2, next 3" in first
    assert "in state replicate: match 62" in second


def test_one_behind_the_compacted_log_gets_a_snapshot():
    cluster, _, late = latecomer(snapshot_entries=20, kept_entries=5, chunk_records=16)
    start = len(cluster.trace)
    cluster.run(2)
    told = " ".join(states_of(cluster, late, start))
    words = [word.strip(":") for word in told.split()]
    states = [word for word in words if word in ("probe", "snapshot", "replicate")]
    assert states == ["probe", "snapshot", "probe", "replicate"]


def test_a_wider_window_is_quicker():
    times = [catch_up_s(window) for window in (1, 4, 16, 64)]
    assert times == sorted(times, reverse=True) and times[0] > 4 * times[-1]


# Exercises ------------------------------------------------------------------------------------


def solved(name: str, base: type) -> type:
    known = {"Base": base}
    exec("class Mine(Base):\n" + EXERCISES[name].solution, known)
    return known["Mine"]


@pytest.mark.parametrize(
    ("name", "base"),
    [("liveness/quorum_active", Raft), ("liveness/in_lease", LoyalForEver)],
)
def test_the_solution_passes(name, base):
    judgement = check(solved(name, base), exercise=name)
    assert judgement.ok is True, str(judgement)


def test_two_of_five_make_no_terms():
    cluster, pair = two_away()
    cluster.run(60)
    assert [cluster.nodes[name].term for name in pair] == [1, 1]
    assert sum(1 for _ in cluster.trace.of(BecameLeader)) == 1
    assert check(1, exercise="liveness/term").ok is True
    wrong = check(2, exercise="liveness/term")
    assert wrong.ok is False and "Who enters term 2?" in plain(wrong)
    assert "a whole number" in plain(check("one", exercise="liveness/term"))


def heard_lately(raft):
    return [
        p
        for p in raft.progress.values()
        if raft.now - p.heard < raft.config.election_ticks
    ]


WRONG = {
    "always": (lambda self: True, "Leader Activity"),
    "with learners": (
        lambda self: 2 * (len(heard_lately(self)) + 1) > len(self.conf.voters),
        "Leader Activity",
    ),
    "everybody": (lambda self: len(heard_lately(self)) == len(self.progress), ""),
    "without itself": (
        lambda self: 2 * len(heard_lately(self)) > len(self.conf.voters),
        "",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_count_of_the_active_is_told(name):
    rule, promise = WRONG[name]
    mine = type("Mine", (Raft,), {"quorum_active": rule})
    judgement = check(mine, exercise="liveness/quorum_active")
    assert judgement.ok is False and judgement.promise == promise
    assert ("a learner is none" if promise else "no reason to go") in plain(judgement)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (lambda self: False, "whoever asks now disturbs"),
        (
            lambda self: self.config.check_quorum and self.leader is not None,
            "may be dead",
        ),
    ],
)
def test_too_little_and_too_much_loyalty_are_told(rule, told):
    mine = type("Mine", (LoyalForEver,), {"in_lease": rule})
    judgement = check(mine, exercise="liveness/in_lease")
    assert judgement.ok is False and told in plain(judgement)


def test_the_witness_convicts_and_an_idle_scene_does_not():
    known: dict = {}
    exec("def scene(cluster):\n" + EXERCISES["liveness/witness"].solution, known)
    judgement = check(known["scene"], exercise="liveness/witness")
    assert judgement.ok is True and judgement.promise == "Leader Stability"

    def idle(cluster):
        cluster.wait_for_leader()
        cluster.run(3)

    judgement = check(idle, exercise="liveness/witness")
    assert judgement.ok is False and "got away" in str(judgement)

    def endless(cluster):
        while True:
            pass

    assert check(endless, exercise="liveness/witness").ok is False
