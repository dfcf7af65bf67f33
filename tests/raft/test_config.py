"""How patient: presets, and numbers that do not fit."""

from dataclasses import replace

import pytest

from kvlearn.raft import RaftConfig


def test_presets():
    paper, etcd = RaftConfig.paper(), RaftConfig.etcd()
    assert (paper.tick_s, paper.election_ticks, paper.max_election_ticks) == (0.001, 150, 300)
    assert (etcd.tick_s, etcd.heartbeat_ticks, etcd.election_ticks) == (0.1, 1, 10)
    plain, more = RaftConfig(), ("pre_vote", "check_quorum", "strict_reconfig")
    assert not any(getattr(plain, name) for name in (*more, "lease_reads", "step_down_on_removal"))
    assert all(getattr(etcd, name) for name in (*more, "step_down_on_removal"))
    assert not etcd.lease_reads, "etcd asks a majority before it reads, too"
    off = dict.fromkeys((*more, "step_down_on_removal"), False)
    assert replace(etcd, **off) == plain
    assert RaftConfig.paper(heartbeat_ticks=20).heartbeat_ticks == 20
    assert RaftConfig.etcd(max_inflight=2).max_inflight == 2


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"tick_s": 0}, "tick_s must be above 0, not 0"),
        ({"tick_s": -0.1}, "tick_s must be above 0"),
        ({"tick_s": float("nan")}, "tick_s must be above 0, not nan"),
        ({"heartbeat_ticks": 0}, "heartbeat_ticks must be above 0"),
        ({"max_entries_per_message": 0}, "max_entries_per_message must be above 0"),
        ({"max_inflight": -1}, "max_inflight must be above 0"),
        ({"max_uncommitted": 0}, "max_uncommitted must be above 0"),
        ({"snapshot_entries": 0}, "snapshot_entries must be above 0"),
        ({"chunk_records": 0}, "chunk_records must be above 0"),
        ({"kept_entries": -1}, "kept_entries is a number from 0 on"),
        ({"max_drift": 1.0}, "max_drift one from 0 up to 1"),
        ({"max_drift": -0.1}, "max_drift one from 0 up to 1"),
        ({"lease_reads": True}, "lease_reads rests on check_quorum=True"),
        (
            {"lease_reads": True, "check_quorum": True, "election_ticks": 3},
            "an election timeout above 3 ticks",
        ),
        ({"heartbeat_ticks": 10}, r"election_ticks \(10\) must be above heartbeat_ticks \(10\)"),
        ({"max_election_ticks": 9}, r"max_election_ticks \(9\).* must not be below election_ticks"),
    ],
)
def test_numbers_that_do_not_fit_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        RaftConfig(**changes)


def test_equal_bounds_are_allowed():
    assert RaftConfig(election_ticks=10, max_election_ticks=10).max_election_ticks == 10


@pytest.mark.parametrize(
    "election, drift, ticks", [(10, 0.1, 7), (10, 0.0, 8), (10, 0.5, 3), (150, 0.1, 133)]
)
def test_a_lease_is_shorter_than_any_timeout_by_the_drift_and_two_ticks(election, drift, ticks):
    config = RaftConfig(election_ticks=election, max_election_ticks=300, max_drift=drift)
    assert config.lease_ticks == ticks
