"""A node's whole state as a file: JSON lines, and last the SHA-256 of all lines before it.

What a real member sends over the network has 32 more bytes, again a SHA-256, which etcd's clients
look at and write into the file; they are taken off when it is read.

Source: etcd clientv3/snapshot (a data file with its sum behind it). Differs: etcd's data are the
pages of its B+tree file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from kvlearn.errors import StorageError
from kvlearn.values import from_json, to_json

HEAD = {"kvlearn snapshot": 1}  # and the version of the format
SENT_BYTES = 32  # of the sum behind a file that came over the network


def lines_of(records: Iterable) -> bytes:
    """Some of the records, as a part of such a file."""
    lines = (json.dumps(to_json(record), ensure_ascii=False) for record in records)
    return "".join(f"{line}\n" for line in lines).encode()


def file_of(parts: Iterable[bytes]) -> bytes:
    """The whole file, from what `lines_of` has made of all records."""
    text = b"".join((json.dumps(HEAD).encode(), b"\n", *parts))
    return text + sha256(text).hexdigest().encode() + b"\n"


def save_snapshot(path: str | Path, records: tuple) -> int:
    """Write the records; returns how many bytes the file has."""
    return Path(path).write_bytes(file_of([lines_of(records)]))


def load_snapshot(path: str | Path) -> tuple:
    """The records of a file that `save_snapshot` wrote, or that a member has sent.

    Raises: StorageError for any other.
    """
    text = Path(path).read_bytes()
    if sha256(text[:-SENT_BYTES]).digest() == text[-SENT_BYTES:]:
        text = text[:-SENT_BYTES]
    body, _, sum = text.rstrip(b"\n").rpartition(b"\n")
    body += b"\n"
    if sha256(body).hexdigest().encode() != sum:
        raise StorageError(f"{path} is damaged, cut off or no snapshot: its sum does not fit")
    head, *lines = body.split(b"\n")[:-1]
    try:
        if json.loads(head) == HEAD:
            return tuple(from_json(json.loads(line)) for line in lines)
    except (ValueError, TypeError):
        pass  # lines of another kind
    raise StorageError(f"{path} is no snapshot of this version of kvlearn: it begins {head[:60]!r}")
