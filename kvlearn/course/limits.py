"""Bounds for code that a student wrote: it may loop for ever, and the notebook must not.

A loop goes round by jumping back, a recursion and a loop around a verb by calling. So both are
counted: the jumps of the student's own code, and the calls of any Python function. A cluster is
bounded by the number of things that happen in it. None of these looks at a clock, so no verdict
depends on how fast a machine is.

>>> def forever():
...     while True:
...         pass
>>> bounded(forever, turns=1000)
Traceback (most recent call last):
kvlearn.course.limits.Spent: your code went round 1,000 times without coming to an end

Python 3.12 has `sys.monitoring` for this, which costs next to nothing in code that is not watched;
before, tracing does it, instruction by instruction.
"""

from __future__ import annotations

import linecache
import sys
import sysconfig
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

from kvlearn.sim import Cluster

# Loops of the house, and of Python itself, are not counted.
HOUSE = (str(Path(__file__).resolve().parents[1]), *map(sysconfig.get_path, ("stdlib", "purelib")))
TURNS = 200_000  # of a student's loops, in one call
CALLS = 2_000_000  # of Python functions, in one call: some seconds
EVENTS = 20_000  # of a cluster: minutes of five nodes that are idle
NAME = "kvlearn course"  # of our tool in sys.monitoring


class Spent(BaseException):
    """A bound was passed. Not an Exception: `except Exception` shall not keep a loop alive."""


HALTS = (Spent, SystemExit)  # what ends a student's code without being an Exception


def bounded(call: Callable, *arguments: Any, turns: int = TURNS, calls: int = CALLS) -> Any:
    """What `call(*arguments)` returns; inside another bounded call that one's bounds hold.

    Raises: Spent after so many turns or calls.
    """
    meter = Meter(turns, calls)
    watch = _monitor if hasattr(sys, "monitoring") else _trace
    return watch(meter, call, arguments)


class Meter:
    """Counts down; raises Spent below zero."""

    def __init__(self, turns: int, calls: int):
        self.turns, self.calls = turns, calls
        self._most = turns, calls

    def turn(self) -> None:
        """A loop of the student went round."""
        self.turns -= 1
        if self.turns < 0:
            most = f"{self._most[0]:,}"
            raise Spent(f"your code went round {most} times without coming to an end")

    def enter(self) -> None:
        """Any function was called."""
        self.calls -= 1
        if self.calls < 0:
            raise Spent(f"your code led to {self._most[1]:,} calls without coming to an end")


def _monitor(meter: Meter, call: Callable, arguments: tuple) -> Any:
    """Watch with sys.monitoring (Python 3.12 and newer)."""
    monitoring = sys.monitoring
    tools = {monitoring.get_tool(number): number for number in (4, 3, 2, 1, 0)}
    if NAME in tools or None not in tools:
        return call(*arguments)  # bounded already, or nobody may watch besides those who do
    tool, events = tools[None], monitoring.events

    def on_jump(code: CodeType, start: int, end: int) -> Any:
        if of_the_house(code.co_filename):
            return monitoring.DISABLE
        return meter.turn()

    def on_call(code: CodeType, place: int) -> None:
        meter.enter()

    monitoring.use_tool_id(tool, NAME)
    try:
        monitoring.register_callback(tool, events.JUMP, on_jump)
        monitoring.register_callback(tool, events.PY_START, on_call)
        monitoring.set_events(tool, events.JUMP | events.PY_START)
        return call(*arguments)
    finally:
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, events.JUMP, None)
        monitoring.register_callback(tool, events.PY_START, None)
        monitoring.free_tool_id(tool)


def _trace(meter: Meter, call: Callable, arguments: tuple) -> Any:
    """Watch with a trace function (Python 3.11)."""

    def on_step(frame, event, _):
        if event == "opcode":
            here, before = frame.f_lasti, places.get(frame)
            places[frame] = here
            if before is not None and here <= before:
                meter.turn()
        elif event == "return":
            places.pop(frame, None)
        return on_step

    def on_kvlearn_call(frame, event, _):
        meter.enter()
        if of_the_house(frame.f_code.co_filename):
            return None
        # Instructions, not lines: `while True: pass` in one line is one line for ever.
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return on_step

    before = sys.gettrace()
    if getattr(before, "__name__", "") == on_kvlearn_call.__name__:
        return call(*arguments)  # bounded already
    places: dict = {}  # frame -> its last instruction
    sys.settrace(on_kvlearn_call)
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
