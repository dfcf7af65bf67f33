"""A member's log on standard error: one line a happening, for programs or for people.

    {"level":"info","ts":"2024-05-01T12:00:00.123Z","logger":"kvlearn.live.launch",
     "msg":"ready to serve client requests","member":"n1","url":"http://127.0.0.1:2379"}

    12:00:00.123 info  n1 ready to serve client requests  url=http://127.0.0.1:2379

Modules write `log.info("ready to serve client requests", extra={"url": url})`: the sentence is
always the same, and what differs stands beside it, where it can be searched for.

Source: etcd client/pkg/logutil (its zap encoder's names).
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any, TextIO

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_NAMES = {number: name for name, number in LEVELS.items()} | {logging.CRITICAL: "fatal"}
_USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """A record as one line of JSON; `member` is who writes."""

    def __init__(self, member: str):
        super().__init__()
        self.member = member

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        row: dict[str, Any] = {
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "ts": f"{second}.{int(record.msecs):03d}Z",
            "logger": record.name,
            "msg": record.getMessage(),
            "member": self.member,
            **_beside(record),
        }
        if record.exc_info:
            row["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False, default=str, separators=(",", ":"))


class Text(logging.Formatter):
    """The same for people."""

    def __init__(self, member: str):
        super().__init__()
        self.member = member

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        second = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = _NAMES.get(record.levelno, record.levelname.lower())
        line = f"{second}.{int(record.msecs):03d} {level:<5} {self.member} {record.getMessage()}"
        beside = " ".join(f"{name}={told}" for name, told in _beside(record).items())
        line += f"  {beside}" if beside else ""
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _beside(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`."""
    return {name: told for name, told in vars(record).items() if name not in _USUAL}


def set_up(member: str, level: str, form: str, stream: TextIO) -> None:
    """Send all that kvlearn logs to `stream`; other packages are heard from warnings on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(member) if form == "json" else Text(member))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(LEVELS[level], logging.WARNING))
    logging.getLogger("kvlearn").setLevel(LEVELS[level])
