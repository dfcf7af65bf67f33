"""How patient a node is, and how much it sends at once.

Source: paper 5.6, 9.3; etcd-io/raft raft.go (Config); etcd server/embed/config.go (defaults).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Timing in ticks; the host makes one tick last `tick_s` seconds of the node's own clock.

    Raises: ValueError that says which number does not fit.
    """

    tick_s: float = 0.1  # etcd --heartbeat-interval=100 (ms)
    heartbeat_ticks: int = 1  # a leader speaks this often; about ten times in an election timeout
    election_ticks: int = 10  # etcd --election-timeout=1000 (ms): the shortest timeout drawn
    max_election_ticks: int = 19  # the longest; the spread is what makes split votes rare
    max_entries_per_message: int = 64  # bounds how long one message takes
    max_inflight: int = 256  # messages on their way to one follower before the leader waits

    def __post_init__(self) -> None:
        for name in ("tick_s", "heartbeat_ticks", "max_entries_per_message", "max_inflight"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.election_ticks <= self.heartbeat_ticks:
            raise ValueError(
                f"election_ticks ({self.election_ticks}) must be above heartbeat_ticks "
                f"({self.heartbeat_ticks}), or followers rise up between two heartbeats"
            )
        if self.max_election_ticks < self.election_ticks:
            raise ValueError(
                f"max_election_ticks ({self.max_election_ticks}) is the longest timeout and must "
                f"not be below election_ticks ({self.election_ticks}), the shortest"
            )

    @classmethod
    def paper(cls, **changes) -> RaftConfig:
        """The timing of paper 5.6 and 9.3: timeouts of 150 to 300 ms, drawn to the millisecond."""
        timing = dict(tick_s=0.001, heartbeat_ticks=50, election_ticks=150, max_election_ticks=300)
        return cls(**{**timing, **changes})

    @classmethod
    def etcd(cls, **changes) -> RaftConfig:
        """etcd's defaults: a heartbeat every 100 ms, timeouts of 1.0 to 1.9 s in steps of 0.1 s."""
        return cls(**changes)
