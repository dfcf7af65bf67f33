"""`kvlearn snapshot`: look into a snapshot of real members, and found a new cluster with it.

    etcdctl snapshot save f                             of a member that runs
    kvlearn snapshot status f -w table
    kvlearn snapshot restore f --name n1 --data-dir n1.kvlearn \\
        --initial-cluster n1=http://127.0.0.1:2380,n2=…,n3=… \\
        --initial-advertise-peer-urls http://127.0.0.1:2380
    kvlearn node --name n1 --data-dir n1.kvlearn …      with the same flags, and where to listen

Every founder of the new cluster restores the same file, into a folder of its own (see
`kvlearn/live/restore.py`).

Source: etcd etcdutl/etcdutl/snapshot_command.go, printer.go (flags, forms of output). Differs: the
hash is that of `etcdctl endpoint hashkv`, so that a file and a member can be compared, where etcd's
is over all of its database; keys are counted once for each revision, users and leases are not. The
peer URLs are those in --initial-cluster unless told otherwise, and an empty folder will do.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from kvlearn.cli import Parser, guess
from kvlearn.cli.environment import Stop
from kvlearn.cli.node import FLAGS, NodeParser, spelled
from kvlearn.errors import StorageError
from kvlearn.live.config import MemberConfig

FORMS = ("simple", "table", "json", "fields")
TAKEN = (
    *("name", "data-dir", "initial-cluster", "initial-cluster-token"),
    "initial-advertise-peer-urls",
)
INSTEAD = {
    "wal-dir": "the log lies in --data-dir; make a link there if it must lie elsewhere",
    "bump-revision": "the revision goes on from that of the snapshot; watchers and caches that "
    "have seen newer ones have to begin anew",
    "mark-compacted": "the revision goes on from that of the snapshot; watchers and caches that "
    "have seen newer ones have to begin anew",
}
SKIP = "skip-hash-check"
USAGE = """usage: kvlearn snapshot status FILE [-w simple|table|json|fields]
       kvlearn snapshot restore FILE --name … --data-dir … --initial-cluster …

status   what a snapshot has: hash, revision, keys, size
restore  a data directory for a founder of a new cluster

`etcdctl snapshot save FILE` takes one. `kvlearn snapshot restore --help` tells more."""


def main(argv: list[str]) -> int:
    """Run one of the two. Raises: Stop with what is wrong."""
    ways = {"status": status, "restore": restore}
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if argv else 2
    if name == "save":
        raise Stop("`etcdctl snapshot save FILE` saves a snapshot of a member that runs")
    if name not in ways:
        raise Stop(f"no command snapshot {name!r}{guess(name, ways)} (status or restore)")
    try:
        return ways[name](spelled(argv[1:]))
    except StorageError as error:
        raise Stop(str(error)) from None


# What there is ------------------------------------------------------------------------------


def status(argv: list[str]) -> int:
    """Print what a file has. Raises: StorageError."""
    grammar = Parser("snapshot status", "What a snapshot of a member has.")
    grammar.add_argument("file", metavar="FILE", help="of `etcdctl snapshot save`")
    grammar.add_argument(
        "-w", "--write-out", default="simple", choices=FORMS, help="how it is told (simple)"
    )
    asked = grammar.parse_args(argv)
    from kvlearn.live.restore import read

    saved = read(asked.file)
    store = saved.machine().store
    print(told(asked.write_out, store.hash(), store.revision, saved.revisions, saved.bytes))
    return 0


def told(form: str, hash: int, revision: int, keys: int, size: int) -> str:
    """The four numbers in one of etcdctl's forms.

    >>> print(told("simple", 0xFE01CF57, 10, 7, 2_101_248))
    fe01cf57, 10, 7, 2.1 MB
    >>> print(told("json", 255, 10, 7, 2048))
    {"hash":255,"revision":10,"totalKey":7,"totalSize":2048}
    """
    match form:
        case "json":
            named = {"hash": hash, "revision": revision, "totalKey": keys, "totalSize": size}
            return json.dumps(named, separators=(",", ":"))
        case "fields":
            named = {"Hash": hash, "Revision": revision, "Keys": keys, "Size": size}
            return "\n".join(f'"{name}" : {number}' for name, number in named.items())
    cells = [f"{hash:x}", str(revision), str(keys), human(size)]
    if form == "simple":
        return ", ".join(cells)
    heads = ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"]
    widths = [max(len(head), len(cell)) for head, cell in zip(heads, cells)]
    line = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    title = "| " + " | ".join(h.center(width) for h, width in zip(heads, widths)) + " |"
    row = "| " + " | ".join(cell.rjust(width) for cell, width in zip(cells, widths)) + " |"
    return "\n".join((line, title, line, row, line))


def human(size: int) -> str:
    """Bytes as people read them, with two figures at least.

    >>> human(12), human(20_480), human(2_101_248)
    ('12 B', '20 kB', '2.1 MB')
    """
    left, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if left < 1000 or unit == "TB":
            break
        left /= 1000
    return f"{left:.1f} {unit}" if left < 10 and unit != "B" else f"{left:.0f} {unit}"


# What is made of it -------------------------------------------------------------------------


class RestoreParser(NodeParser):
    """It says what to do in the place of flags that are not offered."""

    def __init__(self) -> None:
        about = "Make the data directory of one founder of a new cluster from a snapshot."
        Parser.__init__(self, "snapshot restore", about)
        self.add_argument("file", metavar="FILE", help="of `etcdctl snapshot save`")
        for name in TAKEN:
            flag = FLAGS[name]
            self.add_argument(
                f"--{name}",
                dest=flag.field,
                type=flag.read,
                metavar=flag.shown,
                help=HELP.get(name, flag.help),
                default=argparse.SUPPRESS,
            )
        self.add_argument(
            f"--{SKIP}", action="store_true", help="take the file though its sum is wrong"
        )
        for name, instead in INSTEAD.items():
            self.add_argument(f"--{name}", nargs="?", const="", help=argparse.SUPPRESS)


HELP = {
    "data-dir": "the folder to be made (NAME.kvlearn)",
    "initial-advertise-peer-urls": "where others find it (as --initial-cluster says)",
}


def restore(argv: list[str]) -> int:
    """Make a folder and tell what is in it. Raises: StorageError."""
    grammar = RestoreParser()
    fields = vars(grammar.parse_args([*_plain(argv)]))
    for name, instead in INSTEAD.items():
        if fields.pop(name.replace("-", "_")) is not None:
            argparse.ArgumentParser.error(grammar, f"--{name} is not offered: {instead}")
    file, skip = fields.pop("file"), fields.pop("skip_hash_check")
    config = _config(fields, grammar)
    from kvlearn.live import restore

    saved = restore.read(file, check=not skip)
    machine = saved.machine()
    identity = restore.restore(saved, config)
    print(summary(config.data_dir, machine, saved.revisions))
    others = [name for name in sorted(identity.urls) if name != config.name]
    same = f" Restore the same file for {', '.join(others)}, too." if others else ""
    print(f"kvlearn: it founds the cluster {identity.cluster_id:x}.{same} Then start it:")
    flags = [flag for flag in config.flags() if flag[2:].partition("=")[0] in TAKEN]
    print(f"  kvlearn node {' '.join(flags)} --listen-peer-urls=… --listen-client-urls=…")
    return 0


def _plain(argv: list[str]) -> Iterator[str]:
    """Arguments with the one that is true or false as Go has it: there or not there, unless an
    equals sign says which.

    >>> list(_plain(["f", "--skip-hash-check=true"])), list(_plain(["--skip-hash-check=0", "f"]))
    (['f', '--skip-hash-check'], ['f'])
    """
    for word in argv:
        name, _, given = word.partition("=")
        if name != f"--{SKIP}" or given.lower() not in ("true", "t", "1", "false", "f", "0"):
            yield word
        elif given.lower() in ("true", "t", "1"):
            yield name


def _config(fields: dict, grammar: NodeParser) -> MemberConfig:
    """What the member will be told, too. Leaves with status 2 for what does not fit."""
    name = fields.get("name", MemberConfig.name)
    known = fields.get("initial_cluster", {}).get(name)
    if known:
        urls = fields.setdefault("initial_advertise_peer_urls", known)
        if sorted(url.rstrip("/") for url in urls) != sorted(url.rstrip("/") for url in known):
            grammar.error(
                f"--initial-cluster says that {name} is at {','.join(known)}, but "
                f"--initial-advertise-peer-urls is {','.join(urls)}: make them the same"
            )
    try:
        return MemberConfig(**fields)
    except ValueError as error:
        grammar.error(str(error))


def summary(data_dir: str | Path, machine, revisions: int) -> str:
    """What a member will find in its folder."""
    auth, store = machine.auth, machine.store
    parts = [_count(revisions, "record of keys", "records of keys")]
    if store.compacted:
        parts.append(f"compacted at {store.compacted}")
    if machine.lessor.leases:
        parts.append(_count(len(machine.lessor.leases), "lease", "leases"))
    if auth.users:
        parts.append(_count(len(auth.users), "user", "users"))
    if auth.enabled:
        parts.append("authentication is on")
    lines = [f"kvlearn: {data_dir} holds revision {store.revision}: {', '.join(parts)}"]
    if kinds := sorted({kind for _, kind in machine.alarms}):
        told = " and ".join(kinds)
        lines.append(f"kvlearn: it has an alarm, {told}, until `etcdctl alarm disarm` ends it")
    return "\n".join(lines)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
