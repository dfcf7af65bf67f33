"""Limits of the store, and which classes it is made of.

Source: etcd server/embed/config.go (defaults), server/lease/lessor.go, mvcc/watchable_store.go.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from kvlearn.lease import Lessor
from kvlearn.mvcc.watch import WatchHub


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """etcd's defaults. Times are seconds of the node's own clock. A course breaks rules by putting
    a derived class in the place of `hub` or `lessor`.

    Raises: ValueError that says which number does not fit.
    """

    min_ttl_s: int = 2  # etcd: 1.5 election timeouts, rounded up; below, an election outlasts it
    checkpoint_s: float = 0.0  # note the remaining time of leases so often; 0: never (etcd: 300)
    compact_every_s: float = 0.0  # keep the history of about so much time; 0: all of it
    compact_behind: int = 0  # keep so many revisions (looked at every 5 minutes); 0: all of them
    sweep_records: int = 1000  # that a step of a compaction looks at
    quota_bytes: int = 2 << 30  # of the backend; beyond it writes are refused (NOSPACE)
    max_request_bytes: int = 3 << 19  # 1.5 MiB
    sync_s: float = 0.1  # between two steps of watchers that catch up
    progress_s: float = 600.0  # between two progress notifications
    watch_queue: int = 128  # answers that wait in a stream before its watchers fall behind
    watch_batch: int = 1000  # revisions that one step brings a watcher forward
    hub: type[WatchHub] = WatchHub
    lessor: type[Lessor] = Lessor

    def __post_init__(self) -> None:
        above_0 = ("sweep_records", "quota_bytes", "max_request_bytes", "sync_s", "progress_s")
        for field in fields(self):
            given = getattr(self, field.name)
            if field.type in ("int", "float"):
                number = isinstance(given, int) or (
                    field.type == "float" and isinstance(given, float)
                )
                if not number or not given >= 0:
                    raise ValueError(f"{field.name} is a number from 0 on, not {given!r}")
        for name in (*above_0, "watch_queue", "watch_batch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name, kind in (("hub", WatchHub), ("lessor", Lessor)):
            given = getattr(self, name)
            if not (isinstance(given, type) and issubclass(given, kind)):
                raise ValueError(f"{name} is a kind of {kind.__name__}, not {given!r}")

    @property
    def numbers(self) -> dict[str, float]:
        """The limits, as plain data: what a saved run tells of its store."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.type in ("int", "float")}
