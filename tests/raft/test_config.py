"""How patient: presets, and numbers that do not fit."""

import pytest

from kvlearn.raft import RaftConfig


def test_presets():
    paper, etcd = RaftConfig.paper(), RaftConfig.etcd()
    assert (paper.tick_s, paper.election_ticks, paper.max_election_ticks) == (0.001, 150, 300)
    assert (etcd.tick_s, etcd.heartbeat_ticks, etcd.election_ticks) == (0.1, 1, 10)
    assert RaftConfig() == etcd
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
        ({"heartbeat_ticks": 10}, r"election_ticks \(10\) must be above heartbeat_ticks \(10\)"),
        ({"max_election_ticks": 9}, r"max_election_ticks \(9\).* must not be below election_ticks"),
    ],
)
def test_numbers_that_do_not_fit_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        RaftConfig(**changes)


def test_equal_bounds_are_allowed():
    assert RaftConfig(election_ticks=10, max_election_ticks=10).max_election_ticks == 10
