"""A member whose disk can be made slow, or be out of order, while it runs: what stands in the file
`<data_dir>.disk` happens whenever something is forced.

    0.3        every force takes so many seconds longer
    broken     every force fails, as that of a disk that dies
"""

from __future__ import annotations

import errno
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from kvlearn.cli import node
from kvlearn.errors import StorageError
from kvlearn.live import config
from kvlearn.live.lmdb_lazy import LazyLmdb

KEPT_ENTRIES = 200  # so that members which were away get a snapshot


def orders_of(data_dir: Path) -> Path:
    """The file that says how the disk of this member is."""
    return data_dir.with_name(f"{data_dir.name}.disk")


def make_slow(orders: Path) -> None:
    """Let this process force as `orders` says."""

    def suffer() -> None:
        try:
            told = orders.read_text()
        except OSError:
            return
        if told == "broken":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        time.sleep(float(told or 0))

    def slowly(force):
        def forced(file):
            suffer()
            return force(file)

        return forced

    os.fsync, os.fdatasync = slowly(os.fsync), slowly(os.fdatasync)
    commit = LazyLmdb.flush

    def flush(self):  # LMDB forces twice: its pages, and then where they begin
        try:
            suffer()
            suffer()
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}") from None
        commit(self)

    LazyLmdb.flush = flush


def main(arguments: list[str]) -> int:
    raft = config.MemberConfig.raft
    config.MemberConfig.raft = lambda self: replace(raft(self), kept_entries=KEPT_ENTRIES)
    folder = next(a for a in arguments if a.startswith("--data-dir="))
    make_slow(orders_of(Path(folder.partition("=")[2])))
    return node.main(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except node.Stop as stop:
        print(f"kvlearn: {stop}", file=sys.stderr)
        sys.exit(1)
