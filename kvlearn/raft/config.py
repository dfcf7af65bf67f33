"""How patient a node is, and how much it sends at once.

Source: paper 5.6, 9.3; etcd-io/raft raft.go (Config); etcd server/embed/config.go (defaults).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf

from kvlearn.raft.types import Ticks


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Plain Raft of the paper, with etcd's timing, unless more is asked for.

    Timing is in ticks; the host makes one tick last `tick_s` seconds of the node's own clock.

    Raises: ValueError that says which number does not fit.
    """

    tick_s: float = 0.1  # etcd --heartbeat-interval=100 (ms)
    heartbeat_ticks: int = 1  # a leader speaks this often; about ten times in an election timeout
    election_ticks: int = 10  # etcd --election-timeout=1000 (ms): the shortest timeout drawn
    max_election_ticks: int = 19  # the longest; the spread is what makes split votes rare
    max_entries_per_message: int = 64  # bounds how long one message takes
    max_inflight: int = 256  # messages on their way to one follower before the leader waits
    max_uncommitted: int = 10_000  # entries that a leader takes before it refuses more

    pre_vote: bool = False  # ask before an election whether it could be won (thesis 9.6)
    check_quorum: bool = False  # a leader that hears no majority steps down (thesis 6.2)
    lease_reads: bool = False  # read without asking while nobody else can lead (thesis 6.4.1)
    max_drift: float = 0.1  # by how much a clock may be slower than another; shortens the lease
    step_down_on_removal: bool = False  # a leader that removed itself makes room at once
    strict_reconfig: bool = False  # add voters only while all answer (etcd --strict-reconfig-check)

    snapshot_entries: int = 10_000  # applied entries between two snapshots (etcd --snapshot-count)
    kept_entries: int = 5_000  # kept behind a snapshot for slow followers (etcd: 5,000)
    chunk_records: int = 64  # records of a snapshot in one message

    def __post_init__(self) -> None:
        above_0 = ("tick_s", "heartbeat_ticks", "max_entries_per_message", "max_inflight")
        for field in fields(self):
            given = getattr(self, field.name)
            if field.type == "int" and not isinstance(given, int):
                raise ValueError(f"{field.name} is a whole number, not {given!r}")
        if self.tick_s == inf:
            raise ValueError(f"tick_s is a time in seconds, not {self.tick_s}")
        for name in (*above_0, "max_uncommitted", "snapshot_entries", "chunk_records"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.kept_entries < 0 or not 0 <= self.max_drift < 1:
            raise ValueError("kept_entries is a number from 0 on, max_drift one from 0 up to 1")
        if self.lease_reads and not (self.check_quorum and self.lease_ticks > 0):
            raise ValueError(
                "lease_reads rests on check_quorum=True, and on an election timeout above "
                f"{self.heartbeat_ticks + 2} ticks"
            )
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

    @property
    def lease_ticks(self) -> Ticks:
        """How long a heartbeat that a majority answered keeps every other node from leading.

        Two ticks less than the shortest timeout, as both sides only count whole ones.
        """
        return int(self.election_ticks * (1 - self.max_drift)) - 2

    @classmethod
    def paper(cls, **changes) -> RaftConfig:
        """The timing of paper 5.6 and 9.3: timeouts of 150 to 300 ms, drawn to the millisecond."""
        timing = dict(tick_s=0.001, heartbeat_ticks=50, election_ticks=150, max_election_ticks=300)
        return cls(**{**timing, "step_down_on_removal": True, **changes})

    @classmethod
    def etcd(cls, **changes) -> RaftConfig:
        """etcd's defaults: a heartbeat every 100 ms, timeouts of 1.0 to 1.9 s in steps of 0.1 s,
        and what it does beyond the paper: PreVote, CheckQuorum, strict changes of members."""
        more = dict(pre_vote=True, check_quorum=True)
        more |= dict(strict_reconfig=True, step_down_on_removal=True)
        return cls(**{**more, **changes})
