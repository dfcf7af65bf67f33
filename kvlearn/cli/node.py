"""`kvlearn node`: one member of a real cluster, started with etcd's flags.

    kvlearn node --name n1 --data-dir n1.kvlearn \\
        --listen-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 \\
        --initial-cluster n1=http://127.0.0.1:2380,n2=…,n3=…

Flags are written as etcd takes them (`--flag value`, `--flag=value`, one dash or two), and each can
be given as an environment variable (`ETCD_NAME`); what is typed counts more. Some flags of etcd
change nothing here and are taken with a note in the log; of the others a sentence says what is to
be done instead.

Source: etcd server/etcdmain/config.go, help.go.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from kvlearn.cli import Parser
from kvlearn.cli.environment import Stop
from kvlearn.live.config import MemberConfig, Urls, duration


class Flag(NamedTuple):
    """A flag of etcd: the field of `MemberConfig` that it fills, how to read it, what it says."""

    field: str
    read: Any
    shown: str
    help: str


def _boolean(text: str) -> bool:
    known = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"true or false, not {text!r}")
    return known[text.lower()]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a whole number, not {text!r}") from None


def _seconds(text: str) -> float:
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _urls(text: str) -> Urls:
    return tuple(url.strip() for url in text.split(",") if url.strip())


def members(text: str) -> dict[str, Urls]:
    """Name -> peer URLs, of `n1=http://…,n2=http://…`; a name that comes twice has two URLs.

    Raises: ArgumentTypeError.
    """
    found: dict[str, Urls] = {}
    for part in _urls(text):
        name, sign, url = part.partition("=")
        if not sign or not name or not url:
            raise argparse.ArgumentTypeError(f"n1=http://host:port,n2=…, not {part!r}")
        found[name.strip()] = (*found.get(name.strip(), ()), url.strip())
    return found


_FILE, _URLS, _MS = "PATH", "URL,…", "MS"

GROUPS: dict[str, dict[str, Flag]] = {
    "member": {
        "name": Flag("name", str, "NAME", "what this member is called (default)"),
        "data-dir": Flag("data_dir", str, _FILE, "all that it keeps (NAME.kvlearn)"),
        "listen-client-urls": Flag(
            "listen_client_urls", _urls, _URLS, "where clients are served (http://localhost:2379)"
        ),
        "listen-client-http-urls": Flag(
            "listen_client_http_urls", _urls, _URLS, "HTTP alone, on ports of its own"
        ),
        "listen-metrics-urls": Flag(
            "listen_metrics_urls", _urls, _URLS, "/metrics and /health alone, on ports of their own"
        ),
        "listen-peer-urls": Flag(
            "listen_peer_urls", _urls, _URLS, "where members talk (http://localhost:2380)"
        ),
        "heartbeat-interval": Flag("heartbeat_ms", _number, _MS, "a leader speaks so often (100)"),
        "election-timeout": Flag(
            "election_ms", _number, _MS, "silence of the leader until an election (1000)"
        ),
        "snapshot-count": Flag(
            "snapshot_count", _number, "N", "entries between two snapshots (10000)"
        ),
        "quota-backend-bytes": Flag(
            "quota_backend_bytes", _number, "N", "writes are refused beyond it (0: 2 GiB)"
        ),
        "max-request-bytes": Flag(
            "max_request_bytes", _number, "N", "the largest request taken (1572864)"
        ),
        "max-txn-ops": Flag(
            "max_txn_ops", _number, "N", "compares, and operations of a branch, in one txn (128)"
        ),
    },
    "clustering": {
        "initial-cluster": Flag(
            "initial_cluster", members, "NAME=URL,…", "the founders (this member alone)"
        ),
        "initial-cluster-state": Flag(
            "initial_cluster_state", str, "STATE", "new, or existing for one that was added (new)"
        ),
        "initial-cluster-token": Flag(
            "initial_cluster_token", str, "TEXT", "tells clusters apart (etcd-cluster)"
        ),
        "initial-advertise-peer-urls": Flag(
            "initial_advertise_peer_urls", _urls, _URLS, "where others find it (--listen-peer-urls)"
        ),
        "advertise-client-urls": Flag(
            "advertise_client_urls", _urls, _URLS, "told to clients (--listen-client-urls)"
        ),
        "strict-reconfig-check": Flag(
            "strict_reconfig_check", _boolean, "", "refuse changes that cost the majority (true)"
        ),
        "pre-vote": Flag("pre_vote", _boolean, "", "ask before an election (true)"),
        "auto-compaction-mode": Flag(
            "auto_compaction_mode", str, "MODE", "periodic or revision (periodic)"
        ),
        "auto-compaction-retention": Flag(
            "auto_compaction_retention", str, "KEEP", "5m, hours, or revisions (0: all)"
        ),
    },
    "security": {
        "cert-file": Flag("cert_file", str, _FILE, "the certificate shown to clients"),
        "key-file": Flag("key_file", str, _FILE, "and its key"),
        "trusted-ca-file": Flag("trusted_ca_file", str, _FILE, "who vouches for clients"),
        "client-cert-auth": Flag("client_cert_auth", _boolean, "", "clients show certificates"),
        "peer-cert-file": Flag("peer_cert_file", str, _FILE, "the certificate shown to members"),
        "peer-key-file": Flag("peer_key_file", str, _FILE, "and its key"),
        "peer-trusted-ca-file": Flag("peer_trusted_ca_file", str, _FILE, "who vouches for members"),
        "peer-client-cert-auth": Flag(
            "peer_client_cert_auth", _boolean, "", "members show certificates"
        ),
        "auth-token": Flag("auth_token", str, "KIND", "simple"),
        "auth-token-ttl": Flag("auth_token_ttl_s", _number, "S", "how long it lasts (300)"),
        "bcrypt-cost": Flag("bcrypt_cost", _number, "N", "how slow a password is to try (10)"),
    },
    "logging and more": {
        "log-level": Flag("log_level", str, "LEVEL", "debug, info, warn or error (info)"),
        "log-format": Flag("log_format", str, "FORM", "json or text (text on a terminal)"),
        "experimental-watch-progress-notify-interval": Flag(
            "watch_progress_s", _seconds, "TIME", "between two progress notifications (10m)"
        ),
        "experimental-enable-lease-checkpoint": Flag(
            "lease_checkpoint", _boolean, "", "remaining times outlive a leader (false)"
        ),
        "trace-file": Flag("trace_file", str, _FILE, "write all events there, as JSON lines"),
    },
}
FLAGS = {name: flag for group in GROUPS.values() for name, flag in group.items()}
ALIASES = {
    "watch-progress-notify-interval": "experimental-watch-progress-notify-interval",
}

# taken and noted in the log: what they tune does not exist here, and no answer depends on it
NO_EFFECT = (
    *("logger", "log-outputs", "log-package-levels", "debug", "max-wals", "max-snapshots"),
    *("backend-batch-interval", "backend-batch-limit", "backend-bbolt-freelist-type"),
    *("max-concurrent-streams", "grpc-keepalive-min-time", "grpc-keepalive-interval"),
    *("grpc-keepalive-timeout", "socket-reuse-port", "socket-reuse-address", "enable-grpc-gateway"),
    *("initial-election-tick-advance", "enable-pprof", "metrics", "enable-v2", "cipher-suites"),
    *("discovery-fallback", "proxy", "experimental-warning-apply-duration", "cors"),
    *("experimental-compaction-batch-limit", "experimental-initial-corrupt-check"),
    *("experimental-corrupt-check-time", "unsafe-no-fsync", "host-whitelist"),
    *("experimental-backend-bbolt-freelist-type", "experimental-memory-mlock"),
    *("enable-log-rotation", "log-rotation-config-json", "v2-deprecation"),
)
# would mean something else without them, so they are refused: what to do instead
INSTEAD = {
    "config-file": "write the flags on the command line, or as ETCD_… variables",
    "wal-dir": "the log lies in --data-dir; make a link there if it must lie elsewhere",
    "discovery": "name the founders in --initial-cluster",
    "discovery-proxy": "name the founders in --initial-cluster",
    "discovery-srv": "name the founders in --initial-cluster",
    "discovery-srv-name": "name the founders in --initial-cluster",
    "auto-tls": "make a certificate and give it as --cert-file and --key-file",
    "peer-auto-tls": "make a certificate and give it as --peer-cert-file and --peer-key-file",
    "client-crl-file": "give --trusted-ca-file an authority that you can renew",
    "peer-crl-file": "give --peer-trusted-ca-file an authority that you can renew",
    "client-cert-allowed-hostname": "give --trusted-ca-file an authority of its own",
    "peer-cert-allowed-hostname": "give --peer-trusted-ca-file an authority of its own",
    "peer-cert-allowed-cn": "give --peer-trusted-ca-file an authority of its own",
    "force-new-cluster": "take what this member has (`etcdctl snapshot save FILE`: it answers "
    "without the others), and found a new cluster with it (`kvlearn snapshot restore FILE`)",
    "experimental-enable-v2v3": "only the third version of the API is spoken",
}


class NodeParser(Parser):
    """Its guess knows etcd's flags, too."""

    def error(self, message: str) -> NoReturn:
        """Say what to do in the place of a flag that is not offered, and leave with status 2."""
        _, told, rest = message.partition("unrecognized arguments: ")
        names = [word.partition("=")[0] for word in rest.split() if word.startswith("-")]
        for name in names:
            if instead := INSTEAD.get(name.lstrip("-")):
                argparse.ArgumentParser.error(self, f"{name} is not offered: {instead}")
        super().error(message)


def parser() -> NodeParser:
    """The command line's grammar."""
    made = NodeParser("node", "One member of a real cluster. Flags are etcd's.", usage="%(prog)s …")
    for title, flags in GROUPS.items():
        group = made.add_argument_group(title)
        for name, (field, read, shown, text) in flags.items():
            more = dict(nargs="?", const=True) if read is _boolean else {}
            group.add_argument(
                f"--{name}",
                dest=field,
                type=read,
                metavar=shown or "BOOL",
                help=text,
                default=argparse.SUPPRESS,
                **more,
            )
    group.add_argument(
        "--lifeline",
        action="store_true",
        help="end with standard input, and take orders there (JSON lines)",
    )
    for name in NO_EFFECT:
        made.add_argument(
            f"--{name}",
            nargs="?",
            const=True,
            dest=f"no effect: {name}",
            help=argparse.SUPPRESS,
        )
    return made


def spelled(argv: list[str]) -> list[str]:
    """Arguments with two dashes where Go takes one, and old names by their new ones.

    >>> spelled(["-name", "n1", "--pre-vote=false", "-h"])
    ['--name', 'n1', '--pre-vote=false', '-h']
    """
    told = []
    for word in argv:
        if word.startswith("-") and not word.startswith("--") and word[1:2].isalpha() and word[2:]:
            word = f"-{word}"
        name, sign, given = word.partition("=")
        if name.startswith("--") and name[2:] in ALIASES:
            word = f"--{ALIASES[name[2:]]}{sign}{given}"
        told.append(word)
    return told


def from_environment(surroundings: Mapping[str, str]) -> list[str]:
    """`ETCD_…` variables as flags.

    >>> from_environment({"ETCD_NAME": "n1", "ETCD_PRE_VOTE": "true", "ETCDCTL_API": "3"})
    ['--name=n1', '--pre-vote=true']
    """
    known = {"ETCD_" + name.upper().replace("-", "_"): name for name in (*FLAGS, *INSTEAD)}
    return [
        f"--{known[variable]}={told}"
        for variable, told in sorted(surroundings.items())
        if variable in known and told
    ]


class Told(NamedTuple):
    """What a command line said: fields of a `MemberConfig`, and what is none of them."""

    fields: dict[str, Any]
    lifeline: bool
    silent: list[str]  # flags that change nothing


def read(argv: list[str], surroundings: Mapping[str, str], grammar: NodeParser) -> Told:
    """Take a command line apart. Leaves with status 2 for what does not fit."""
    told = vars(grammar.parse_args([*from_environment(surroundings), *spelled(argv)]))
    lifeline = told.pop("lifeline")
    silent = {name: told.pop(f"no effect: {name}") for name in NO_EFFECT}
    return Told(
        told, lifeline, [f"--{name}" for name, given in silent.items() if given is not None]
    )


def configured(fields: dict[str, Any], grammar: NodeParser) -> MemberConfig:
    """The configuration; people read text, programs JSON. Leaves with status 2 as `read` does."""
    form = "text" if sys.stderr.isatty() else "json"
    try:
        return MemberConfig(**{"log_format": form, **fields})
    except ValueError as error:
        grammar.error(str(error))


def main(argv: list[str]) -> int:
    """Serve until a signal comes (SIGTERM, SIGINT). Raises: Stop if it cannot start."""
    grammar = parser()
    told = read(argv, os.environ, grammar)
    config = configured(told.fields, grammar)
    from kvlearn.live import launch  # after the flags: a typing error is told at once

    try:
        return launch.run(config, told.lifeline, told.silent)
    except launch.CannotStart as error:
        raise Stop(str(error)) from None


if __name__ == "__main__":  # what LocalCluster starts: it stands in the right Python already
    try:
        sys.exit(main(sys.argv[1:]))
    except Stop as stop:
        print(f"kvlearn: {stop}", file=sys.stderr)
        sys.exit(1)
