"""Bounds for code that a student wrote: it may loop for ever, and the notebook must not.

Python code is bounded by the number of instructions that it runs, a cluster by the number of
things that happen in it. Neither looks at a clock, so no verdict depends on how fast a machine is.

>>> def forever():
...     while True:
...         pass
>>> bounded(forever, steps=1000)
Traceback (most recent call last):
kvlearn.course.limits.Spent: 1,000 instructions of your code ran without coming to an end
"""

from __future__ import annotations

import linecache
import sys
import sysconfig
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from kvlearn.sim import Cluster

# Code of the house, and of Python itself, is not counted.
HOUSE = (str(Path(__file__).resolve().parents[1]), *map(sysconfig.get_path, ("stdlib", "purelib")))
STEPS = 500_000  # of a student's code in one call: half a second or so
EVENTS = 20_000  # of a cluster: minutes of five nodes that are idle


class Spent(BaseException):
    """A bound was passed. Not an Exception: `except Exception` shall not keep a loop alive."""


HALTS = (Spent, SystemExit)  # what ends a student's code without being an Exception


def bounded(call: Callable, *arguments: Any, steps: int = STEPS) -> Any:
    """What `call(*arguments)` returns. Raises: Spent after `steps` instructions of a student."""
    left = steps

    def on_step(frame, event, _):
        nonlocal left
        if event == "opcode":
            left -= 1
            if left < 0:
                raise Spent(f"{steps:,} instructions of your code ran without coming to an end")
        return on_step

    def on_call(frame, event, _):
        if of_the_house(frame.f_code.co_filename):
            return None
        # Instructions, not lines: `while True: pass` in one line is one line for ever.
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return on_step

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        return call(*arguments)
    finally:
        sys.settrace(before)


class BoundedCluster(Cluster):
    """A cluster in which only so many things happen; then it raises `Spent`."""

    budget = EVENTS

    def _happen(self) -> None:
        if self._clock.happened >= self.budget:
            raise Spent(
                f"{self.budget:,} things happened in {self.now:.1f} virtual seconds without an end"
            )
        super()._happen()


def blame(error: BaseException) -> str:
    """Where in the student's code an error came up: `in line 3: return self.votee`, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if not of_the_house(frame.filename)]
    if not mine:
        return ""
    frame = mine[-1]
    line = frame.line or linecache.getline(frame.filename, frame.lineno or 0).strip()
    return f"in line {frame.lineno}: `{line}`" if line else f"in line {frame.lineno}"


@lru_cache(256)
def of_the_house(filename: str) -> bool:
    """Whether a file is kvlearn's or Python's own; what those make with exec is called <string>."""
    return filename.startswith((*HOUSE, "<string>", "<frozen"))
