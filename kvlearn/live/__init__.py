"""What is real: processes, disks, sockets, and etcd's own API. Nothing here is loaded unless asked
for by name.

```
member.py         the host of one Node: its clock, its disk, its connections, who waits for what
launch.py         from a configuration (config.py) to a member that serves; logs.py, story.py: what
                  it tells; identity.py: which member of which cluster it is

wal.py            a write-ahead log: segments, checksums, one fdatasync for all that waits
lmdb_backend.py   the store's backend in a memory-mapped LMDB file: kill -9 loses no commit
lmdb_lazy.py      the same with commits that gather, because a log is the truth; frozen views
lmdb_pages.py     the same file read page by page, for pictures and before it is trusted
storage.py        a member's folder: the log, the store, snapshots that came, a lock (folders.py)
restore.py        a snapshot becomes the folder of a founder of a new cluster
forcing.py        who waits for the disk: a thread, or the loop
codec.py          values as bytes, for the log and for the other members
transport.py      how members talk: one stream a peer

port.py           one port for two languages: it looks at the first bytes
http2.py          gRPC over HTTP/2, as plain callbacks (http2_call, http2_frames, http2_headers)
proto/, wire.py   etcd's messages, and what they are in the core's words
rpc.py            the services, found by path: KV here; rpc_watch, rpc_lease, rpc_cluster,
                  rpc_upkeep (Maintenance), rpc_auth, rpc_lock (locks, elections), rpc_health;
                  method.py, codes.py: what a method is, and how a call ends
gateway.py        the same API as JSON over HTTP/1.1, /health, /version (proto_json.py: the JSON)
metrics.py        /metrics for Prometheus, under etcd's names

channel.py        a client's requests over gRPC, to kvlearn's members or to a real etcd
                  (connections.py, client_wire.py, client_streams.py)
local_cluster.py  LocalCluster: members as processes (process.py), with the simulator's verbs
merge.py          one trace out of what the members wrote, as it grows
stage.py          a LocalCluster as the lab bench sees it
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
