"""A cluster that begins with what another one has left: a snapshot becomes a founder's folder.

    etcdctl snapshot save f ──▶ f ──┬─ restore ──▶ n1.kvlearn ─ kvlearn node ─┐
                                    ├─ restore ──▶ n2.kvlearn ─ kvlearn node ─┼─ a new cluster
                                    └─ restore ──▶ n3.kvlearn ─ kvlearn node ─┘

What the store knew stays: every revision and the compaction, leases with the time that was granted
to them (or noted as left), users, roles, alarms. What the old cluster was is dropped: its members,
their numbers, its log. The new log begins behind entry 1 of term 1, which stands for the snapshot;
so nobody can be brought up to date from before it but by a snapshot.

All founders have to begin with the same. The token that their numbers are computed from therefore
has the snapshot's sum behind it: one that was restored from another file, or not at all, is of
another cluster for the others, and they keep it out.

A folder is made under another name (`n1.kvlearn.restoring`) and gets its own when it is whole and
on the disk: a crash leaves nothing that a member would start with.

Source: etcd etcdutl/snapshot/v3_snapshot.go. Differs: etcd computes the numbers from the token
alone, and founders that were restored from different files tell their clients different things;
it takes the snapshot for the first entries of the log, one a founder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from random import SystemRandom
from typing import Any

from kvlearn.errors import StorageError
from kvlearn.kv.directory import Directory
from kvlearn.kv.machine import APPLIED, DIRECTORY, KVMachine
from kvlearn.kv.snapshots import HEAD, SENT_BYTES
from kvlearn.live.config import DEFAULT_QUOTA, MemberConfig
from kvlearn.live.folders import force_folder, hold
from kvlearn.live.identity import FIRST, Identity, found
from kvlearn.live.storage import Storage, quiet
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.revision import KeyValue
from kvlearn.node import CONF
from kvlearn.raft.types import HardState, Ready
from kvlearn.values import from_json

MOST_BOOTS = 1 << 15
SUM_LETTERS = 2 * sha256().digest_size
_HEAD = json.dumps(HEAD).encode() + b"\n"
_BOLT = b"\xed\xda\x0c\xed"  # from byte 16 on: a database of etcd
_DAMAGE = (ValueError, TypeError, AttributeError, LookupError, struct.error, OverflowError)
TAKE = "take one with `etcdctl snapshot save FILE` from a member of kvlearn"


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file holds. `sum`: of its text, SHA-256 in hexadecimal letters; `bytes`: its size
    without what it was sent with; `records`: as `KVMachine.save` gave them."""

    path: Path
    sum: str
    bytes: int
    records: tuple[tuple, ...]

    @property
    def revisions(self) -> int:
        """How many records of keys there are, deletions included."""
        return sum(isinstance(name, bytes) for name, _ in self.records)

    def machine(self) -> KVMachine:
        """The state in memory. Raises: StorageError."""
        return _loaded(KVMachine(MemoryBackend()), self.records, self.path)


def read(path: str | Path, check: bool = True) -> Saved:
    """A snapshot's file. Without `check` its sums may be wrong: it was changed on purpose.

    Raises: StorageError that says what to do.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except IsADirectoryError:
        raise StorageError(f"{path} is a folder, and no snapshot: {TAKE}") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
    if not text.startswith(_HEAD):
        raise StorageError(_stranger(path, text))
    body, told, sent = _parts(text)
    sum = sha256(body).hexdigest()
    if check and (sum != told or (sent and sha256(text[:-SENT_BYTES]).digest() != sent)):
        raise StorageError(
            f"{path} is damaged or cut off: its SHA-256 is not the one at its end. Copy it again, "
            f"or {TAKE}"
        )
    with quiet():
        records = tuple(_records(path, body.split(b"\n")[1:-1]))
    if not re.fullmatch("[0-9a-f]{64}", told):
        raise StorageError(f"{path} is cut off behind record {len(records)}, or damaged there")
    return Saved(path, sum, len(text) - len(sent), records)


def _stranger(path: Path, text: bytes) -> str:
    if text[16:20] == _BOLT:
        return (
            f"{path} is a snapshot of etcd's own, whose pages kvlearn does not read: restore it "
            "into an etcd with etcdctl, and bring its keys here with `etcdctl make-mirror`"
        )
    if text.startswith(b'{"kvlearn snapshot"'):
        head = text.partition(b"\n")[0].decode("ascii", "replace")[:60]
        return f"{path} is a snapshot of another version of kvlearn: it begins {head}"
    return f"{path} is no snapshot: {TAKE}"


def _parts(text: bytes) -> tuple[bytes, str, bytes]:
    """The head and the records, each line with its end; the sum that stands behind them; and the
    one of a file that was sent, which is filled up with empty lines before it.

    A record's line begins with a bracket, so the first one that does not is no record.
    """
    at = text.index(b"\n") + 1
    while text[at : at + 1] == b"[" and (end := text.find(b"\n", at)) >= 0:
        at = end + 1
    end = at + SUM_LETTERS
    was_sent = len(text) > end + 1
    sent = text[-SENT_BYTES:] if was_sent else b""
    return text[:at], text[at:end].decode("ascii", "replace"), sent


def _records(path: Path, lines: Iterable[bytes]) -> Iterable[tuple]:
    for number, line in enumerate(lines, start=2):
        try:
            name, fact = from_json(json.loads(line))
            if isinstance(name, str) or (isinstance(name, bytes) and isinstance(fact, KeyValue)):
                yield name, fact
                continue
        except _DAMAGE:
            pass
        raise StorageError(f"{path} is damaged: line {number} is no record")


def _loaded(machine: KVMachine, records: Iterable[tuple], path: Path) -> KVMachine:
    try:
        machine.load(records)
    except _DAMAGE as error:
        raise StorageError(f"{path} is damaged: {error}") from error
    return machine


# A founder's folder -------------------------------------------------------------------------


def restore(saved: Saved, config: MemberConfig) -> Identity:
    """Make `config.data_dir` the folder of a founder that begins with `saved`; returns who it is.

    Raises: StorageError, and then there is nothing new on the disk.
    """
    folder = Path(config.data_dir).resolve()
    _check_free(folder)
    draft = folder.with_name(folder.name + ".restoring")
    identity = found(config, saved.sum)
    try:
        _clear(draft)
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
    except OSError as error:
        raise StorageError(f"{config.data_dir} cannot be made: {error.strerror}") from None
    try:
        _fill(draft, saved, identity)
        if folder.exists():
            folder.rmdir()  # it is empty
        os.replace(draft, folder)
        force_folder(folder.parent)
    except (OSError, StorageError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        why = error.strerror if isinstance(error, OSError) else error
        raise StorageError(f"{config.data_dir} is not made, and nothing is left: {why}") from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return identity


def _check_free(folder: Path) -> None:
    """Raises: StorageError where something is already, or nothing can be put in its place."""
    if os.path.ismount(folder):
        raise StorageError(
            f"{folder} is where a disk is mounted: give a folder within it as --data-dir"
        )
    try:
        there = next(folder.iterdir(), None)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"{folder} is no folder for a member: {error.strerror}") from None
    if there is not None:
        raise StorageError(
            f"{folder} exists and is not empty: a snapshot becomes a new member, so give another "
            "--data-dir, or move this one away"
        )


def _clear(draft: Path) -> None:
    """Remove what a restore left that was killed. Raises: StorageError if one is at work."""
    if not draft.exists():
        return
    if (draft / "lock").exists():
        with (draft / "lock").open("a+b") as lock:
            try:
                hold(lock)
            except OSError:
                raise StorageError(f"{draft} is in use: a restore is at work there") from None
    shutil.rmtree(draft)


def _fill(draft: Path, saved: Saved, identity: Identity) -> None:
    """The store has the snapshot, the log begins behind it, and member.json says whose it is."""
    quota = max(DEFAULT_QUOTA, saved.bytes)
    with quiet(), Storage(draft, quota_bytes=quota) as storage:
        # Ids of leases have the count of starts in them. It begins somewhere, so that none comes
        # again that the old cluster gave after the snapshot, and some client still renews.
        storage.boot = SystemRandom().randrange(1, MOST_BOOTS)
        _loaded(KVMachine(storage.backend), _of_founder(saved.records, identity), saved.path)
        storage.write(Ready(HardState(FIRST.term, None, FIRST.index)))
        storage.compact(FIRST)
        storage.sync()
        storage.identify(**identity.save())
        if storage.full:
            raise StorageError(storage.full)


def _of_founder(records: Iterable[tuple], identity: Identity) -> Iterable[tuple[Any, Any]]:
    """The records, with the new cluster's members in the place of the old one's."""
    new = {
        APPLIED: FIRST.index,
        CONF: identity.arguments()["conf"],
        DIRECTORY: Directory.of(identity.founders),
    }
    return chain(new.items(), (record for record in records if record[0] not in new))
