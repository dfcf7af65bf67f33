"""What a folder on a disk needs beside its files: one owner at a time, and names that last.

A file that was written and forced is not there after a power cut if the folder that names it was
not forced too. And a process that is killed must not leave a folder locked: the system gives the
lock back with the file.

Source: etcd client/pkg/fileutil (lock_flock.go, fileutil.go).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def hold(file: Any) -> None:
    """Lock an open file until it is closed, by whomever, even by a kill.

    Raises: OSError if somebody else holds it.
    """
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def force_folder(folder: Path) -> None:
    """Make the names in a folder durable (where a folder can be opened: not on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
