"""What is real: files of one's own on a real disk. Nothing here is loaded unless asked for by name.

```
lmdb_backend.py   the store's backend in a memory-mapped LMDB file: kill -9 loses no commit
lmdb_lazy.py      the same with commits that gather, because a log is the truth; frozen views
lmdb_pages.py     the same file read page by page, for pictures and before it is trusted
wal.py            a write-ahead log: segments, checksums, one fdatasync for all that waits
storage.py        a member's folder: the log, the store, snapshots that came, a lock
channel.py        a client's requests over gRPC, to kvlearn's members or to a real etcd
gateway.py        the same API as JSON over HTTP/1.1, /health, /version (proto_json.py: the JSON)
metrics.py        /metrics for Prometheus, under etcd's names
launch.py         from a configuration to a member that serves
local_cluster.py  LocalCluster: members as processes, with the verbs of the simulated cluster
merge.py          one trace out of what the members wrote
```

Differs from the simulator in this alone: what the core is told and what it tells are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvlearn.client import Client
    from kvlearn.live.local_cluster import LocalCluster

__all__ = ["LocalCluster", "connect"]


def connect(
    endpoints: str | Iterable[str],
    *,
    write: bool = False,
    user: str | None = None,
    password: str | None = None,
    ca_file: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
    timeout_s: float = 5.0,
) -> Client:
    """A client of real members, kvlearn's or a real etcd's, that listen at `endpoints`.

    `endpoints`: `host:port` or a URL, a list of them or several with commas between. It only reads
    and watches, so that nothing of value is changed by mistake; with `write` it does everything.
    `https://` or `ca_file` (who signed their certificates) ask for TLS, `cert_file` and `key_file`
    are the client's own certificate; `user` and `password` where the cluster wants to know. Every
    call may take `timeout_s` seconds. Nothing is sent before the first request.

    Raises: ValueError for arguments that do not fit together, OSError for files that are not there.
    """
    from kvlearn.client import Client
    from kvlearn.values import check_timeout

    check_timeout(timeout_s)
    try:
        from kvlearn.live.channel import open_channel
    except ModuleNotFoundError as error:
        told = f"connect needs grpcio and protobuf: pip install grpcio protobuf ({error})"
        raise ImportError(told, name=error.name) from None
    who = dict(user=user, password=password)
    files = dict(ca_file=ca_file, cert_file=cert_file, key_file=key_file)
    channel = open_channel(endpoints, write, **who, **files, timeout_s=timeout_s)
    return Client(channel, timeout_s)


def __getattr__(name: str) -> type[LocalCluster]:
    """`LocalCluster`, when it is asked for."""
    if name != "LocalCluster":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kvlearn.live.local_cluster import LocalCluster

    return LocalCluster
