"""What one member is told before it starts: names, addresses, patience, limits, certificates.

    MemberConfig(name="n1", data_dir="n1.kvlearn",
                 listen_client_urls=("http://127.0.0.1:2379",),
                 listen_peer_urls=("http://127.0.0.1:2380",),
                 initial_cluster={"n1": ("http://127.0.0.1:2380",)})

A member *listens* where it binds a socket and *advertises* what others can dial; on one machine
both are the same, which is the default here. `raft()` and `store()` tell the same to the core.

Source: etcd server/embed/config.go (names, defaults, what is refused).
Differs: PreVote is on, as in etcd from 3.5 on; a snapshot every 10,000 entries, as in 3.6; what is
listened to is advertised unless said otherwise, where etcd insists that both are given.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from kvlearn.kv.config import StoreConfig
from kvlearn.kv.txn import MAX_OPS
from kvlearn.live.logs import LEVELS
from kvlearn.raft.config import RaftConfig

DEFAULT_QUOTA = 2 << 30  # bytes; what --quota-backend-bytes=0 stands for
NO_QUOTA = 1 << 62  # what a negative one stands for
MAX_ELECTION_MS = 50_000

Urls = tuple[str, ...]


class Address(NamedTuple):
    """Where a URL leads."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def bind(self) -> str:
        """The host to bind: `localhost` is IPv4 alone, so that one port is one socket."""
        return "127.0.0.1" if self.host == "localhost" else self.host


def address(url: str) -> Address:
    """The address in a URL such as `http://127.0.0.1:2379`.

    Raises: ValueError that says what a URL looks like.

    >>> address("https://[::1]:2379")
    Address(host='::1', port=2379, tls=True)
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (ValueError, AttributeError):
        raise ValueError(f"not a URL such as http://127.0.0.1:2379: {url!r}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"a URL starts with http:// or https://: {url!r}")
    if not host or port is None:
        raise ValueError(f"a URL names a host and a port, as in http://127.0.0.1:2379: {url!r}")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError(f"a URL here ends with its port: {url!r}")
    return Address(host, port, parts.scheme == "https")


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate files of one side, clients or peers; all empty: no TLS."""

    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    client_cert_auth: bool = False

    def __bool__(self) -> bool:
        return bool(self.cert_file)


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """All that one member is told. Times are in the unit that the name ends with.

    URLs are tuples; an empty one of the advertised takes what is listened to, and an empty
    `initial_cluster` is this member alone.

    Raises: ValueError that says what does not fit, and how it would.
    """

    name: str = "default"
    data_dir: str | Path = ""  # "<name>.kvlearn"
    listen_client_urls: Urls = ("http://localhost:2379",)
    advertise_client_urls: Urls = ()
    listen_client_http_urls: Urls = ()  # HTTP alone, on ports of its own
    listen_metrics_urls: Urls = ()  # /metrics and /health alone, besides where clients are
    listen_peer_urls: Urls = ("http://localhost:2380",)
    initial_advertise_peer_urls: Urls = ()
    initial_cluster: dict[str, Urls] = field(default_factory=dict)  # name -> its peer URLs
    initial_cluster_state: str = "new"  # or "existing": this one was added to a running cluster
    initial_cluster_token: str = "etcd-cluster"  # keeps clusters with the same addresses apart

    heartbeat_ms: int = 100
    election_ms: int = 1000
    pre_vote: bool = True
    strict_reconfig_check: bool = True
    snapshot_count: int = 10_000  # applied entries between two snapshots
    max_request_bytes: int = 3 << 19
    max_txn_ops: int = MAX_OPS  # of compares, of success and of failure of a transaction each
    quota_backend_bytes: int = 0  # 0: 2 GiB; negative: none
    auto_compaction_mode: str = "periodic"  # or "revision"
    auto_compaction_retention: str = "0"  # "5m", "1h", hours as a number; or revisions; 0: all
    lease_checkpoint: bool = False  # a lease's remaining time outlives a change of leader
    watch_progress_s: float = 600.0  # between two progress notifications

    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    client_cert_auth: bool = False
    peer_cert_file: str = ""
    peer_key_file: str = ""
    peer_trusted_ca_file: str = ""
    peer_client_cert_auth: bool = False
    auth_token: str = "simple"
    auth_token_ttl_s: int = 300
    bcrypt_cost: int = 10  # kept for etcd's flag: how slow a password is to try

    log_level: str = "info"
    log_format: str = "json"  # or "text"
    trace_file: str | Path = ""  # events as JSON lines; empty: none are written

    def __post_init__(self) -> None:
        self._fill_in()
        self._check_name()
        self._check_urls()
        self._check_cluster()
        self._check_numbers()
        http = self.listen_client_http_urls + self.listen_metrics_urls
        self._check_tls("", self.tls, self.listen_client_urls + http)
        self._check_tls("peer-", self.peer_tls, self.listen_peer_urls)
        self.raft()
        self.store()

    def _fill_in(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for name in _URLS:
            put(name, _urls(name, getattr(self, name)))
        put("data_dir", Path(self.data_dir or f"{self.name}.kvlearn"))
        put("advertise_client_urls", self.advertise_client_urls or self.listen_client_urls)
        put(
            "initial_advertise_peer_urls", self.initial_advertise_peer_urls or self.listen_peer_urls
        )
        given = dict(self.initial_cluster) or {self.name: self.initial_advertise_peer_urls}
        put("initial_cluster", {k: _urls("initial_cluster", urls) for k, urls in given.items()})

    def _check_name(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[^\s,=/\\]+", self.name):
            raise ValueError(
                "--name is a word without blanks, commas, slashes and equals signs, "
                f"not {self.name!r}"
            )

    def _check_urls(self) -> None:
        for name in _URLS:
            for url in getattr(self, name):
                try:
                    where = address(url)
                except ValueError as error:
                    raise ValueError(f"{_flag(name)}: {error}") from None
                if name.startswith("listen") and not _is_ip(where.host):
                    raise ValueError(
                        f"{_flag(name)}: expected IP in URL for binding ({url}): listen on an IP "
                        "address or localhost, and advertise the host name"
                    )
        if not self.listen_client_urls or not self.listen_peer_urls:
            raise ValueError("--listen-client-urls and --listen-peer-urls need at least one URL")

    def _check_cluster(self) -> None:
        if self.initial_cluster_state not in ("new", "existing"):
            raise ValueError(
                f"--initial-cluster-state is new or existing, not {self.initial_cluster_state!r}"
            )
        own = self.initial_cluster.get(self.name)
        if own is None:
            raise ValueError(
                f"--initial-cluster does not name this member: add {self.name}="
                f"{self.initial_advertise_peer_urls[0]} to it, or give one of its names "
                f"({', '.join(self.initial_cluster)}) as --name"
            )
        if sorted(own) != sorted(self.initial_advertise_peer_urls):
            raise ValueError(
                f"--initial-cluster says that {self.name} is at {', '.join(own)}, but "
                "--initial-advertise-peer-urls (by default what --listen-peer-urls says) is "
                f"{', '.join(self.initial_advertise_peer_urls)}: make them the same"
            )
        told: dict[str, str] = {}
        for name, urls in self.initial_cluster.items():
            if not urls:
                raise ValueError(f"--initial-cluster gives no URL of {name}")
            for url in urls:
                address(url)
                if told.setdefault(url.rstrip("/"), name) != name:
                    raise ValueError(
                        f"--initial-cluster gives {url} to both {told[url.rstrip('/')]} and {name}"
                    )

    def _check_numbers(self) -> None:
        for name in _NUMBERS:
            given = getattr(self, name)
            if not isinstance(given, int) or isinstance(given, bool) or given <= 0:
                raise ValueError(f"{_flag(name)} is a whole number above 0, not {given!r}")
        if self.election_ms < 5 * self.heartbeat_ms:
            raise ValueError(
                f"--election-timeout ({self.election_ms} ms) should be at least 5 times "
                f"--heartbeat-interval ({self.heartbeat_ms} ms), or followers rise up needlessly"
            )
        if self.election_ms > MAX_ELECTION_MS:
            raise ValueError(
                f"--election-timeout is at most {MAX_ELECTION_MS} ms, not {self.election_ms}"
            )
        if not 4 <= self.bcrypt_cost <= 31:
            raise ValueError(f"--bcrypt-cost is a number from 4 to 31, not {self.bcrypt_cost}")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{_flag(name)} is one of {', '.join(known)}, not {getattr(self, name)!r}"
                )

    def _check_tls(self, side: str, tls: Tls, listen: Urls) -> None:
        secure = [url for url in listen if address(url).tls]
        if bool(tls.cert_file) != bool(tls.key_file):
            raise ValueError(f"--{side}cert-file and --{side}key-file go together: give both")
        if secure and not tls:
            raise ValueError(
                f"{secure[0]} asks for TLS: give --{side}cert-file and --{side}key-file"
            )
        for name in ("cert_file", "key_file", "trusted_ca_file"):
            path = getattr(tls, name)
            if path and not Path(path).is_file():
                raise ValueError(f"--{side}{name.replace('_', '-')}: there is no file {path}")

    @property
    def tls(self) -> Tls:
        """What the client side shows and asks for."""
        return Tls(self.cert_file, self.key_file, self.trusted_ca_file, self.client_cert_auth)

    @property
    def peer_tls(self) -> Tls:
        """What members show each other and ask for."""
        return Tls(
            self.peer_cert_file,
            self.peer_key_file,
            self.peer_trusted_ca_file,
            self.peer_client_cert_auth,
        )

    @property
    def is_new(self) -> bool:
        """Whether an empty data directory founds the cluster instead of joining one."""
        return self.initial_cluster_state == "new"

    def flags(self) -> list[str]:
        """The same as arguments of `kvlearn node`; what is as usual is left out."""
        told = []
        for one in fields(self):
            given = getattr(self, one.name)
            if given not in (one.default, "", {}, ()):
                told.append(f"{_flag(one.name)}={_written(given)}")
        return told

    def raft(self) -> RaftConfig:
        """The same for the core: a tick is a heartbeat, as in etcd."""
        election_ticks = self.election_ms // self.heartbeat_ms
        return RaftConfig.etcd(
            tick_s=self.heartbeat_ms / 1000,
            election_ticks=election_ticks,
            max_election_ticks=2 * election_ticks - 1,
            pre_vote=self.pre_vote,
            strict_reconfig=self.strict_reconfig_check,
            snapshot_entries=self.snapshot_count,
        )

    def store(self) -> StoreConfig:
        """The same for the core: what limits the store and its leases."""
        every_s, behind = retention(self.auto_compaction_mode, self.auto_compaction_retention)
        quota = self.quota_backend_bytes or DEFAULT_QUOTA
        return StoreConfig(
            min_ttl_s=math.ceil(1.5 * self.election_ms / 1000),
            checkpoint_s=300.0 if self.lease_checkpoint else 0.0,
            compact_every_s=every_s,
            compact_behind=behind,
            quota_bytes=quota if quota > 0 else NO_QUOTA,
            max_request_bytes=self.max_request_bytes,
            progress_s=self.watch_progress_s,
        )


_URLS = (
    "listen_client_urls",
    "advertise_client_urls",
    "listen_client_http_urls",
    "listen_metrics_urls",
    "listen_peer_urls",
    "initial_advertise_peer_urls",
)
_NUMBERS = (
    "heartbeat_ms",
    "election_ms",
    "snapshot_count",
    "max_request_bytes",
    "max_txn_ops",
    "auth_token_ttl_s",
)
_CHOICES = {
    "auto_compaction_mode": ("periodic", "revision"),
    "auth_token": ("simple",),
    "log_level": tuple(LEVELS),
    "log_format": ("json", "text"),
}
_FLAGS = {"heartbeat_ms": "heartbeat-interval", "election_ms": "election-timeout"}
_FLAGS |= {"auth_token_ttl_s": "auth-token-ttl"}
_FLAGS["watch_progress_s"] = "experimental-watch-progress-notify-interval"
_FLAGS["lease_checkpoint"] = "experimental-enable-lease-checkpoint"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _flag(name: str) -> str:
    return "--" + _FLAGS.get(name, name.replace("_", "-"))


def _written(given) -> str:
    """A field as a flag has it."""
    match given:
        case bool():
            return str(given).lower()
        case float():
            return f"{round(given * 1000)}ms"
        case dict():
            return ",".join(f"{name}={url}" for name, urls in given.items() for url in urls)
        case tuple():
            return ",".join(given)
    return str(given)


def _urls(name: str, given) -> Urls:
    """A tuple of URLs without a slash at the end; a text is split at its commas."""
    if isinstance(given, str):
        given = [url.strip() for url in given.split(",") if url.strip()]
    if not all(isinstance(url, str) for url in given):
        raise ValueError(f"{_flag(name)} is a list of URLs, not {given!r}")
    return tuple(dict.fromkeys(url.rstrip("/") for url in given))


def _is_ip(host: str) -> bool:
    return host == "localhost" or ":" in host or bool(re.fullmatch(r"[0-9]+(\.[0-9]+){3}", host))


def duration(text: str) -> float:
    """Seconds in a duration as Go writes it.

    Raises: ValueError that shows one.

    >>> duration("1h30m"), duration("100ms")
    (5400.0, 0.1)
    """
    parts = re.findall(r"([0-9.]+)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"not a duration such as 5m, 90s or 1h30m: {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def retention(mode: str, text: str) -> tuple[float, int]:
    """(seconds, revisions) of history to keep; 0 is all of it, and one of them is always 0.

    Raises: ValueError.

    >>> retention("periodic", "1"), retention("periodic", "5m"), retention("revision", "1000")
    ((3600.0, 0), (300.0, 0), (0.0, 1000))
    """
    try:
        if mode == "revision":
            return 0.0, int(text)
        return (float(int(text) * 3600) if text.isdigit() else duration(text)), 0
    except ValueError:
        kind = "a number of revisions" if mode == "revision" else "hours, or a duration such as 5m"
        raise ValueError(f"--auto-compaction-retention is {kind}, not {text!r}") from None
