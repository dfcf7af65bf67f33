"""Live panels: a cluster that one can see, play, stop, break and mend with mouse and keyboard.

A panel is a widget (anywidget): one Python class, one JavaScript module without dependencies. The
browser holds the rows it was told and draws any moment by itself; Python is asked for more time
while it plays, and for what changes the cluster. Call-backs only queue a command; a beat on the
kernel's event loop carries it out, compiles what the trace has new, and sends at most ten updates
a second of at most 4 KB.

The cursor is the place where things happen: a command that comes while the cursor stands in the
past takes the cluster back there first, and the panel says so.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import traceback
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Any

import anywidget
import traitlets

from kvlearn.doors import door
from kvlearn.errors import KVLearnError
from kvlearn.events import (
    Crashed,
    Delayed,
    Dropped,
    Healed,
    Invoked,
    LinksChanged,
    LinksCut,
    LogCompacted,
    Paused,
    Received,
    Resumed,
    Started,
    Wiped,
)
from kvlearn.trace import Record, Trace
from kvlearn.viz.asking import Desk
from kvlearn.viz.feed import Feed, encode
from kvlearn.viz.futures import Futures
from kvlearn.viz.hands import Hands, Refusal
from kvlearn.viz.theme import THEME
from kvlearn.viz.timeline_rows import TURN
from kvlearn.viz.why_index import prime

UPDATES_A_SECOND = 10
BEAT_S = 0.1  # between updates while much is to be told
POLL_S = 0.2  # how often an idle panel looks whether a cell has moved the cluster
CHUNK_S = 0.06  # computing at most so long at a time: the kernel belongs to the student
FLIGHT_S, BEAT_FLIGHT_S = 0.75, 0.3  # as in player.js: a message's time on screen, a heartbeat's
NEXT_S = 5.0  # "next decision" looks so far ahead, in virtual seconds
FUTURES = (
    *("keep_future", "open_future", "rename_future", "forget_future", "compare"),
    *("share", "open_code", "save_futures", "load_futures"),
)
HANDS = (Crashed, Wiped, Paused, Resumed, LinksCut, Healed, LinksChanged, Delayed, Invoked)
CLIENT = "panel"  # the name under which the panel asks
PANES = (
    *("ring", "logs", "spacetime", "revisions", "trees", "watches", "leases", "txn"),
    *("history", "verdicts", "members"),
)
SCRIPTS = (
    "player.js",
    "pictures.js",
    "axis.js",
    "asking.js",
    "futures.js",
    "frame.js",
    "views.js",
    *(f"pane_{name}.js" for name in PANES[2:]),
    "hands.js",
    "bench.js",
)


def show(
    cluster: Any, speed: float | str = "follow", panes: Iterable[str] | str = ("ring", "logs")
) -> Bench:
    """The lab bench of a cluster: panes on one cursor, of which each can be opened and closed.

    `speed` is in virtual seconds a second, or "follow": slow while messages fly, real time between.
    `panes`: names out of `PANES`, in their order, or "all".
    """
    if hasattr(cluster, "settle"):  # a real one, as live/stage.py shows it
        return door("live panel")(cluster, speed, panes)
    return Bench(cluster, speed, panes)


def known_panes(panes: Iterable[str] | str) -> list[str]:
    """The names of panes, each once. Raises: ValueError for one that is not there."""
    if panes == "all":
        return list(PANES)
    names = list(dict.fromkeys([panes] if isinstance(panes, str) else panes))
    strange = [name for name in names if name not in PANES]
    if strange:
        raise ValueError(f"there is no pane {strange[0]!r}; the panes are {', '.join(PANES)}")
    return names


def _by_hand(trace: Trace, record: Record) -> bool:
    """Whether somebody did this, rather than that it had to happen."""
    event = record.event
    if isinstance(event, Received) and record.cause is not None:
        due = trace[record.cause].event.arrives_s
        return due is not None and due > record.time
    if isinstance(event, Started):
        return event.boot > 1 or record.time > 0
    if isinstance(event, LogCompacted):
        return record.cause is None  # what a node does by itself has a cause
    return isinstance(event, HANDS) or isinstance(event, Dropped) and event.reason == "BY_HAND"


def go_back(cluster: Any, seq: int, time_s: float) -> float:
    """Take a cluster back to record `seq`, or later, up to `time_s`, if that is before the next
    record. Returns the time in seconds to which it was rewound, before time went on."""
    trace = cluster.trace
    here = trace[seq].time if seq >= 0 else 0.0
    following = trace[seq + 1].time
    if following > here:
        cluster.rewind(min(max(here, time_s), math.nextafter(following, 0.0)))
        return cluster.now
    # Several things have this very time; those that hands did come after what had to happen.
    first = seq
    while first > 0 and trace[first - 1].time == here:
        first -= 1
    if any(_by_hand(trace, record) for record in trace[max(0, first) : seq + 1]):
        cluster.rewind(here)
        return here
    before = max(0.0, math.nextafter(here, -1.0))
    cluster.rewind(before)
    cluster.run(here - before)
    return before


def _squeeze(*names: str) -> str:
    """Source files as one text, without indentation and comments: each widget sends it."""
    here = Path(__file__).parent
    text = "\n".join((here / name).read_text(encoding="utf-8") for name in names)
    if names[0].endswith(".css"):
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        return re.sub(r"([{};,])\s+", r"\1", text).strip()
    lines = (re.sub(r"(^|\s)// .*", "", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


class Bench(anywidget.AnyWidget):
    """The panel of one cluster. Any number of panels may show the same cluster.

    `errors` keeps the full text of everything that went wrong in a call-back; the panel shows the
    first line of each.
    """

    _esm = _squeeze(*SCRIPTS)
    _css = _squeeze("bench.css")
    theme = traitlets.Dict().tag(sync=True)
    # Made when they are asked for: a page that is loaded later opens at its own present.
    opening = traitlets.Dict().tag(sync=True, to_json=lambda _, bench: bench.opening_now())
    history = traitlets.Bytes().tag(sync=True, to_json=lambda _, b: b.feed.history_packed())
    speed = traitlets.Any("follow").tag(sync=True)
    panes = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(
        self,
        cluster: Any,
        speed: float | str = "follow",
        panes: Iterable[str] | str = ("ring", "logs"),
    ):
        self.cluster = cluster
        self.feed = Feed(cluster.trace, getattr(cluster, "store", None))
        self.desk = Desk(cluster.trace, cluster)
        self.futures = Futures(cluster)
        self.errors: list[str] = []
        self._inbox: deque[dict] = deque()
        self._flags: dict[str, Any] = {}  # go out with the update after which all is told
        self._sent = deque(maxlen=UPDATES_A_SECOND)  # when the last updates left
        self._open = False  # whether a front end shows it
        self._timer: asyncio.TimerHandle | None = None
        self._slow_at: float | None = None  # the speed of which the panel says it is too much
        self.hands = self.make_hands()
        opening = self.opening_now()
        super().__init__(theme=THEME, opening=opening, speed=speed, panes=known_panes(panes))
        self.on_msg(self._hear)

    def make_hands(self) -> Hands:
        """What carries out what is asked of the store."""
        return Hands(self.cluster, CLIENT)

    def opening_now(self) -> dict[str, Any]:
        """What a page begins with: the state at this moment, and the last rows before it."""
        self.feed.sync()
        return {**self.feed.opening(self.cluster.now), "client": CLIENT}

    def refresh(self) -> None:
        """Tell the front end at once what the cluster did since the last update."""
        self._beat()

    def close(self) -> None:
        """End the panel; the cluster stays as it is."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
        super().close()

    # The beat ---------------------------------------------------------------------------------

    def _hear(self, _: Any, command: dict, buffers: Any) -> None:
        self._inbox.append(command)
        self._wake(0)

    def _wake(self, after_s: float) -> None:
        """Beat soon. Where no event loop runs (a script, a test), beat now."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            if after_s == 0:
                self._beat()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(after_s, self._beat)

    def _beat(self) -> None:
        while self._inbox:
            command = self._inbox.popleft()
            try:
                self._carry_out(command)
            except Exception as error:  # whatever it is, it is shown: nobody reads a kernel's log
                self._report(error)
            if "id" in command:
                self._flags["done"] = command["id"]
        try:
            self.hands.give_up_late()
            self.feed.sync()
            if self._open:
                self._wake(self._tell())
        except Exception as error:  # telling went wrong, so tell that, once, and be still
            self._report(error)
            self._open = False
            self.send({"op": "rows"}, buffers=[encode({"error": self._flags.pop("error")})])

    def _tell(self) -> float:
        """Send what may be sent; returns after how many seconds to look again."""
        while True:
            now = monotonic()
            if len(self._sent) == UPDATES_A_SECOND and now - self._sent[0] < 1 and self._looped():
                return 1 - (now - self._sent[0])
            self.hands.add_news(self._flags)
            told = self.feed.next_payload(self.cluster.now, self._flags)
            if told is None and "verdicts" in self.panes and (news := self.desk.verdicts()):
                told = {"verdicts": news}
            if told is None:
                return POLL_S
            if self.feed.thinned and "rows" in told:
                self.feed.thinned = 0
                told["thinned"] = True
            self._sent.append(now)
            self.send({"op": "rows"}, buffers=[encode(told)])
            if self._looped():
                return BEAT_S

    @staticmethod
    def _looped() -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    def _report(self, error: Exception) -> None:
        if isinstance(error, Refusal):  # the form says so itself, beside the field
            self._flags["refused"] = {"field": error.field, "why": str(error)[:300]}
            return
        self.errors.append("".join(traceback.format_exception(error)))
        expected = isinstance(error, (KVLearnError, ValueError))
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        self._flags["error"] = text[:600]

    # Commands ---------------------------------------------------------------------------------

    def _carry_out(self, command: dict) -> None:
        self.hands.absorb()
        match command.get("op"):
            case "hello":
                self._open = True
                held = command["epoch"], command["first"], command["last"]
                facts = command.get("facts")
                self.feed.hello(command["who"], *held, self.cluster.now, facts)
                self.hands.tell_again()
                prime(self.cluster.trace)  # before the first question
                if self.futures.kept:
                    self._flags["futures"] = self.futures.told()
            case "bye":
                self._open = False
            case "more":
                self._flags["fed"] = True
                self._advance(float(command["wall_s"]), command["speed"])
            case "step":
                self._step()
            case "next":
                self._next_decision()
            case "preview":
                self.hands.preview(command)
            case "why" | "rule" | "check":
                self._flags |= self._answer(command)
            case op if op in FUTURES:
                self._flags |= self._future(command)
            case _:
                self._act(command)

    def _answer(self, command: dict) -> dict[str, Any]:
        """What is asked about the run, and changes nothing."""
        match command["op"]:
            case "rule":
                return {"why": {"number": command["number"], **self.desk.rule(command["rule"])}}
            case "check":
                return {"checked": self.desk.linearizable()}
        if command["epoch"] != self.feed.era:
            raise ValueError("the cluster has gone back in time meanwhile; ask once more")
        told = self.desk.why(command["what"], command.get("mark"), command["seq"])
        return {"why": {"number": command["number"], **told}}

    def _future(self, command: dict) -> dict[str, Any]:
        """What concerns other futures than the present one."""
        futures, name = self.futures, command.get("name", "")
        notice = ""
        match command["op"]:
            case "keep_future":
                notice = futures.keep(name)
            case "open_future":
                notice = futures.open(name)
            case "rename_future":
                futures.rename(name, command["to"])
            case "forget_future":
                futures.forget(name)
            case "compare":
                return {"compared": futures.compare(name)}
            case "share":
                return {"code": self._share(command)}
            case "open_code":
                notice = futures.open_code(command["code"])
            case "save_futures":
                notice = futures.save(command["path"])
            case "load_futures":
                notice = futures.load(command["path"])
        self.feed.sync()
        told = {"futures": futures.told(), "notice": notice}
        return {**told, "snap": True} if command["op"].startswith("open") else told

    def _share(self, command: dict) -> str:
        """The code of the moment where the cursor stands."""
        cluster, trace = self.cluster, self.cluster.trace
        if command["epoch"] != self.feed.era or command["seq"] >= len(trace) - 1:
            return cluster.code()
        there = type(cluster).from_journal(cluster.journal())
        go_back(there, command["seq"], command["us"] / 1e6)
        return there.code()

    def _advance(self, wall_s: float, speed: float | str) -> None:
        """Let virtual time pass, as much as the front end shows in `wall_s` seconds."""
        cluster, end = self.cluster, monotonic() + CHUNK_S
        left = wall_s
        while left > 1e-9 and monotonic() < end:
            rate, slice_s = self._rate(speed)
            slice_s = min(left, slice_s)
            # Whole microseconds: what is done there can be shared in a short code.
            cluster.run_to(round((cluster.now + slice_s * rate) * 1e6) / 1e6)
            left -= slice_s
            self.feed.sync()
        if left > wall_s / 2 and speed != "follow":
            speed_now = (1 - left / wall_s) * speed
            self._flags["notice"] = f"The kernel manages {speed_now:.0f} × here, not {speed:g} ×."
            self._slow_at = speed
        elif self._slow_at not in (None, speed):  # said of a speed that is no longer wanted
            self._flags["notice"], self._slow_at = "", None

    def _rate(self, speed: float | str) -> tuple[float, float]:
        """Virtual seconds a second now, and how many seconds of the screen to do at a time."""
        if speed != "follow":
            return float(speed), max(0.01, 0.05 / max(1.0, speed))
        flights: dict[bool, list[float]] = {True: [], False: []}
        for packet in self.feed.compiler.moment.packets.values():
            if packet.arrives_s is not None:
                beat = type(packet.message).__name__.startswith("Heartbeat")
                flights[beat].append(packet.arrives_s - packet.sent_s)
        beats = not flights[False]
        ways = flights[beats]
        if not ways:
            return 1.0, 0.0025
        rate = sum(ways) / len(ways) / (BEAT_FLIGHT_S if beats else FLIGHT_S)
        return min(1.0, max(0.0005, rate)), 0.01

    def _step(self) -> None:
        records = self.cluster.step()
        if records:
            self._flags["goal"] = records[0].seq
        else:
            self._flags["notice"] = "Nothing is left that could happen: no node runs."

    def _next_decision(self) -> None:
        cluster, end = self.cluster, self.cluster.now + NEXT_S
        self.feed.sync()
        before = self.feed.read
        while cluster.now < end and cluster.step():
            for row in self.feed.sync():
                if row.weight >= TURN:
                    self._flags["goal"] = row.seq
                    return
        if self.feed.read == before:
            self._flags["notice"] = "Nothing is left that could happen: no node runs."
            return
        self._flags["goal"] = self.feed.read - 1
        self._flags["notice"] = f"Nothing was decided in {NEXT_S:g} s: all is quiet."

    def _act(self, command: dict) -> None:
        """Change the cluster, where the cursor stands."""
        self._left, of_store = None, self.hands.knows(command)
        if of_store:
            self.hands.check(command)
        self._flags["notice"], self._slow_at = self._go_to_cursor(command), None
        self._flags["snap"] = True
        try:
            if of_store:
                self.hands.do(command)
            else:
                self.hands.absorb()
                begun = self.cluster.now
                self._act_here(command)
                self.hands.tell_verb(command, begun)
        finally:
            if self._left is not None:  # what was undone is another future
                self.futures.left(self._left)
                self._flags["notice"] += f" It is kept as {self.futures.kept[-1].name!r}."
                self._flags["futures"] = self.futures.told()

    def _act_here(self, command: dict) -> None:
        cluster, node = self.cluster, command.get("node")
        match command["op"]:
            case "crash":
                cluster.crash(node)
            case "restart":
                cluster.restart(node)
            case "pause":
                cluster.pause(node)
            case "resume":
                cluster.resume(node)
            case "isolate":
                cluster.isolate(node)
            case "campaign":
                cluster.campaign(node)
            case "partition":
                side = command["side"]
                cluster.partition(side, [name for name in cluster.nodes if name not in side])
            case "heal":
                cluster.heal()
            case "drop":
                cluster.drop(command["packet"])
            case "deliver":
                cluster.deliver(command["packet"])
            case "delay":
                usual = 10 * cluster.links.latency_s[1]
                cluster.delay(command["packet"], command.get("by_us", 1e6 * usual) / 1e6)
            case "duplicate":
                cluster.duplicate(command["packet"])
            case "compact":
                cluster.compact(node)
            case other:
                raise ValueError(f"this panel knows no command {other!r}")

    def _go_to_cursor(self, command: dict) -> str:
        """Take the cluster back to the moment that the front end shows; what to say about it."""
        trace, seq = self.cluster.trace, command["seq"]
        self.feed.sync()
        if command["epoch"] != self.feed.era:
            return "The cluster had gone back in time meanwhile; this happened at its present."
        if command["live"] or seq >= len(trace) - 1:
            return ""
        undone = len(trace)
        present = self.futures.before_leaving()
        go_back(self.cluster, seq, command["us"] / 1e6)
        if command["us"] >= command["seen"]:
            return ""  # what lay ahead had not been seen: nothing is lost
        self._left = present
        return (
            f"Time went back from {command['seen'] / 1e6:.3f} s to {self.cluster.now:.3f} s first: "
            f"what was recorded there ({undone - len(trace)} records) has not happened here."
        )

    # The static form --------------------------------------------------------------------------

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict]:
        bundle = dict(door("picture")(self.cluster)._repr_mimebundle_())
        if os.environ.get("KVLEARN_STATIC") == "1":
            return bundle, {}
        data, metadata = super()._repr_mimebundle_(**options)
        return {**bundle, **data, "text/plain": bundle["text/plain"]}, metadata
