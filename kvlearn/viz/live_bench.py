"""The lab bench of a real cluster: the same panes, fed with what processes tell while they run.

    event files ──▶ settle ──▶ trace ──▶ rows ──▶ the browser           (five times a second)
    a click ──▶ a thread ──▶ kill -9, SIGSTOP, gRPC … ──▶ event files

Time is real: it does not stop, and the past can be looked at, not changed. So there are no steps
into the future, no other futures and no hands on messages; what is done happens now, wherever the
cursor stands. The panel shows what has settled, about half a second after it happened. Where more
happens than the kernel can take in, it lags behind and says so.

The panel outlives all members, and the cluster: what was told can still be played.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any, Protocol

from kvlearn.kv.config import StoreConfig
from kvlearn.trace import Trace
from kvlearn.viz.asking import Desk
from kvlearn.viz.live_hands import LiveHands
from kvlearn.viz.panels import CLIENT, FUTURES, POLL_S, Bench

SETTLE_S = 0.04  # reading at most so long at a time: the kernel belongs to the student
OPENING_S = 1.0  # before the first picture
MOST_PENDING = 3000  # rows that were not told yet; more would take longer than one waits
LATE_S = 2.0  # behind by more than this is worth a word
JUDGE_S = 2.0  # between two looks at the promises, at least
TICK_S = 1.0  # time goes on even when nothing happens
THREADS = 4  # requests that may wait at the same time
VERBS = {  # what the browser calls it -> what is said while it lasts, and after it
    "crash": ("kill -9 {} …", "{} is gone."),
    "restart": ("{} starts again …", "{} serves again."),
    "pause": ("{} is stopped (SIGSTOP) …", "{} stands still; its connections stay."),
    "resume": ("{} goes on (SIGCONT) …", "{} goes on."),
    "isolate": ("the links of {} are cut …", "{} hears no other member."),
    "partition": ("links are cut …", "Links between the two sides are cut."),
    "heal": ("links are mended …", "All links work."),
}
PAST = "The past can be looked at, not changed: this happens now. "
SKIPPED = "More happens than can be told: the panel goes on to what is now."
ENDED = "The cluster has ended. What was recorded can still be played."


class Subject(Protocol):
    """What the bench needs of a real cluster. Methods that may wait are called in threads."""

    trace: Trace  # what has settled; only grows, and only in `settle`
    now: float  # up to which second it tells all
    store: StoreConfig
    nodes: tuple[str, ...]
    closed: bool  # it has ended for good

    def settle(self, within_s: float) -> float:
        """Let the trace grow, for so many seconds; returns how many seconds it is behind."""

    def do(self, verb: str, *args: Any) -> Any:
        """Carry out one of `VERBS`, or "add_node". May wait."""

    def request(self, request: Any, node: str = "") -> Any:
        """Ask a member, or "" any; a client's `Reply`. May wait."""

    def watch(self, request: Any, node: str = "") -> Any:
        """Open a watch; returns what `unwatch(it)` needs. Both may wait."""

    def keep(self, lease: int, every_s: float) -> None:
        """Keep a lease alive until `unkeep(lease)`. Both may wait."""

    def close(self) -> None:
        """Nobody looks any more; the cluster goes on."""


class LiveDesk(Desk):
    """Looks at the promises in a thread, on a copy: the story grows meanwhile."""

    def __init__(self, trace: Trace, start: Callable[..., None]):
        super().__init__(trace, trace)
        self._start = start
        self._looks = False
        self._found: dict[str, Any] | None = None
        self._again = 0.0

    def verdicts(self, now: bool = False) -> dict[str, Any] | None:
        """What was found since the last time, if anything was."""
        if self._found is None and not self._looks and monotonic() >= self._again:
            self._looks = True
            self._start(partial(self._look, copy.deepcopy(self.trace)), self._take)
        found, self._found = self._found, None
        return found

    @staticmethod
    def search(trace: Trace) -> dict[str, Any]:
        """Whether one order explains every answer: takes a while."""
        return Desk(trace, trace).linearizable()

    def keep(self, checked: dict[str, Any]) -> dict[str, Any]:
        """What a search has found, for later questions."""
        self._checked = checked
        return checked

    def _look(self, trace: Trace) -> tuple[Desk, dict[str, Any] | None]:
        desk = Desk(trace, trace)
        return desk, desk.verdicts(now=True)

    def _take(self, looked: Any, error: Exception | None) -> None:
        self._looks = False
        if error is not None:
            raise error
        desk, told = looked
        self._lamps, self._judged, rest_s = desk._lamps, desk._judged, desk.rest_s
        self._again = monotonic() + max(JUDGE_S, rest_s)
        self._found = told


class LiveBench(Bench):
    """The panel of one real cluster. It follows while a page shows it and the cluster is there."""

    def __init__(self, cluster: Subject, speed: float | str = "follow", panes: Any = ()):
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="panel")
        self._turns = ThreadPoolExecutor(1, thread_name_prefix="panel verbs")  # one after another
        self._ticked = self._late_told = 0.0
        self._ended = False
        cluster.settle(OPENING_S)
        super().__init__(cluster, speed, panes)
        self.desk = LiveDesk(cluster.trace, partial(self._start, self._threads))

    def make_hands(self) -> LiveHands:
        return LiveHands(self.cluster, CLIENT, partial(self._start, self._threads))

    def opening_now(self) -> dict[str, Any]:
        return {**super().opening_now(), "real": True}

    def close(self) -> None:
        """End the panel; the cluster goes on."""
        super().close()
        for threads in (self._threads, self._turns):
            threads.shutdown(wait=False, cancel_futures=True)
        self.cluster.close()

    # Following --------------------------------------------------------------------------------

    def _beat(self) -> None:
        try:
            self._follow()
        except Exception as error:  # a file that is damaged, say: what was read can still be seen
            self._report(error)
        super()._beat()

    def _follow(self) -> None:
        """Take in what the members have told since."""
        ended = self.cluster.closed
        late_s = self.cluster.settle(SETTLE_S)
        self.feed.sync()
        if len(self.feed.pending) > MOST_PENDING:
            self.feed.skip(self.cluster.now)
            self._flags["notice"] = SKIPPED
        now = monotonic()
        if now - self._ticked >= TICK_S and not self._ended:
            self._ticked = now
            self._flags["tick"] = 1
            if late_s > LATE_S:
                told = f"More happens than this panel can take in: it is {late_s:.0f} s behind."
                self._flags["notice"], self._late_told = told, late_s
            elif self._late_told:
                self._flags["notice"], self._late_told = "", 0.0
        if ended and not self._ended:
            self._ended = True
            self._flags["ended"] = ENDED

    def _wake(self, after_s: float) -> None:
        """Beat soon, unless nothing will ever happen again."""
        if not self._ended or after_s != POLL_S:
            super()._wake(after_s)

    # Doing ------------------------------------------------------------------------------------

    def _carry_out(self, command: dict) -> None:
        match command.get("op"):
            case "hello":
                super()._carry_out(command)
                if self._ended:
                    self._flags["ended"] = ENDED
            case "more" | "step" | "next":
                self._flags["notice"] = "Time is real here: what comes next comes by itself."
            case op if op in FUTURES:
                raise ValueError("a real cluster has one future only, and it has not happened yet")
            case _:
                super()._carry_out(command)

    def _answer(self, command: dict) -> dict[str, Any]:
        if command["op"] != "check":
            return super()._answer(command)
        look = partial(self.desk.search, copy.deepcopy(self.desk.trace))
        self._start(self._threads, look, self._checked)
        return {"notice": "One order of all answers is searched for …"}

    def _checked(self, found: Any, error: Exception | None) -> None:
        self._flags["notice"] = ""
        if error is not None:
            raise error
        self._flags["checked"] = self.desk.keep(found)

    def _act(self, command: dict) -> None:
        if self.cluster.closed:
            raise ValueError("the cluster has ended")
        of_store = self.hands.knows(command)
        if of_store:
            self.hands.check(command)
        self._flags["snap"] = True
        self._flags["notice"] = "" if command.get("live") else PAST
        if of_store:
            self.hands.do(command)
        else:
            self._verb(command)

    def _verb(self, command: dict) -> None:
        verb, node = command["op"], command.get("node")
        if verb not in VERBS:
            raise ValueError(f"nobody can do that to a real cluster: {verb}")
        args: tuple = (node,)
        if verb == "partition":
            side = command["side"]
            args = side, [name for name in self.cluster.nodes if name not in side]
        elif verb == "heal":
            args = ()
        begins, done = VERBS[verb]
        self._flags["notice"] += begins.format(node)
        work = partial(self.cluster.do, verb, *args)
        self.hands.tell_verb(command, self.cluster.now)
        self._start(self._turns, work, partial(self._done, done.format(node)))

    def _done(self, told: str, _: Any, error: Exception | None) -> None:
        if error is not None:
            self._flags["notice"] = ""
            raise error
        self._flags["notice"] = told

    def _start(self, threads: ThreadPoolExecutor, work: Callable[[], Any], done: Callable) -> None:
        """Have `work()` done in a thread, and `done(result, error)` here, after it. Where no event
        loop runs (a script, a test) it is done at once."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._finish(done, *_outcome(work))
            return
        future = loop.run_in_executor(threads, _outcome, work)
        future.add_done_callback(lambda f: f.cancelled() or self._come_back(done, *f.result()))

    def _come_back(self, done: Callable, result: Any, error: Exception | None) -> None:
        self._finish(done, result, error)
        if self._open:
            self._wake(0)

    def _finish(self, done: Callable, result: Any, error: Exception | None) -> None:
        try:
            done(result, error)
        except Exception as error:  # whatever it is, it is shown
            self._report(error)


def _outcome(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return work(), None
    except Exception as error:
        return None, error
