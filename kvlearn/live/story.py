"""A live member's part of the story: its events, as lines of JSON, while they happen.

The lines are those of a saved `Trace`, with a head of their own; the parts of all members make one
trace again. Times are seconds of the machine's monotonic clock, which all processes share; numbers
(of records and of packets) count within one life of one member.

Lines are handed to the system with every turn of the loop, so that a killed process has told all
that it did. A story that cannot be written ends, and the member goes on.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any, TextIO

from kvlearn.values import to_json

log = logging.getLogger(__name__)


class Story:
    """Invariant: `seq` of a line is its place in the file behind the head; causes are smaller."""

    def __init__(self, path: str | Path, node: str, boot: int):
        """Write to `path`; "": tell nothing. Another life's lines are kept: its file is another."""
        self.tells = bool(path)
        self._file: TextIO | None = None
        self._seq = self._packets = 0
        if self.tells:
            place = Path(path)
            place = place.with_name(f"{place.stem}.{boot}{place.suffix}")
            place.parent.mkdir(parents=True, exist_ok=True)
            self._file = place.open("w", encoding="utf-8", buffering=1 << 16)
            self._write({"kvlearn": 1, "seed": None, "node": node, "boot": boot})

    def add(self, node: str, event: Any, cause: int | None) -> int:
        """Tell an event; returns its number."""
        row = {"seq": self._seq, "time": time.monotonic(), "node": node, "cause": cause}
        row["event"] = to_json(event)
        self._write(row)
        self._seq += 1
        return self._seq - 1

    def packet(self) -> int:
        """A number for a message, which no other one of this life has."""
        self._packets += 1
        return self._packets

    def flush(self) -> None:
        """Hand the lines to the system."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                self._end(error)

    def close(self) -> None:
        """Nothing more is told."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                log.error("the last events could not be written: %s", error)
            self._file, self.tells = None, False

    def _write(self, row: dict) -> None:
        if self._file is not None:
            try:
                self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            except OSError as error:
                self._end(error)

    def _end(self, error: OSError) -> None:
        log.error("no more events are written: %s", error)
        self.close()
