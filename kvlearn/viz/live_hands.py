"""Hands on a real store: what a live panel's forms ask goes to real members, as any client's does.

The forms, and what is refused in them, are those of `hands.py`. What differs: an answer takes as
long as it takes, so each request waits in a thread of its own; nothing can be undone, so what was
done is simply a list of lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from kvlearn.errors import RequestError, TimedOut
from kvlearn.kv.kinds import repeatable
from kvlearn.viz.hand_log import KEPT_LINES, Line
from kvlearn.viz.hands import Hands, Plan, Refusal, quoted

SAID_CHARS = 300  # of an answer


class LiveLog:
    """What hands did, as lines of Python; see `HandLog`. Nothing is ever undone."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._count = 0

    @property
    def state(self) -> tuple[int, int]:
        """Differs whenever `lines` may differ."""
        return 0, self._count

    def absorb(self) -> None:
        """What others do stands in the story."""

    def tell(self, line: str, time: float, setup: tuple[str, ...] = ()) -> None:
        """Write down what was done."""
        self._count += 1
        self.lines = [*self.lines, Line(self._count, time, setup, line)][-KEPT_LINES:]

    def script(self) -> str:
        """All lines as one program."""
        return "\n".join(str(line) for line in self.lines)


class LiveHands(Hands):
    """What one panel does to the store of a real cluster.

    `start(work, done)` has `work()` done somewhere, and `done(result, error)` called after it.
    """

    def __init__(self, cluster: Any, client: str, start: Callable[..., None]):
        self._start = start
        self._watches: dict[str, tuple[str, Any]] = {}  # name -> what is watched, its stream
        self._opened = 0
        self._kept: set[int] = set()
        self._asked_number = 0
        super().__init__(cluster, client)

    def make_log(self) -> LiveLog:
        return LiveLog()

    def do(self, command: dict) -> None:
        """Carry it out, and tell it as Python. Raises: Refusal."""
        cluster = self.cluster
        for plan in self._read({**command, "seq": len(cluster.trace) - 1}):
            setup = plan.needs
            if plan.node is not None:
                setup = (*setup, f"client = cluster.client({quoted(plan.node)})")
                setup = tuple(line.replace('client("")', "client()") for line in setup)
            plan.do(plan.node or "")
            self._log.tell(plan.line, cluster.now, setup)

    def give_up_late(self) -> None:
        """Clients give up by themselves."""

    # Requests -----------------------------------------------------------------------------------

    def _request(self, request: Any, line: str, command: dict, *needs: str) -> Plan:
        return Plan(line, partial(self._ask, request), command.get("node") or "", needs)

    def _ask(self, request: Any, node: str) -> None:
        self._asked_number += 1
        said = str(request)[:SAID_CHARS]
        asked = (self._asked_number, node or "any node", said)
        self._untold.append({"asked": [*asked, None, True]})
        self._start(
            lambda: self.cluster.request(request, node), partial(self._answered, asked, request)
        )

    def _answered(self, asked: tuple, request: Any, reply: Any, error: Exception | None) -> None:
        if error is None:
            told = "ok" if reply.result is None else str(reply.result)[:SAID_CHARS]
            told += f" · revision {reply.header.revision}" * bool(reply.header.revision)
        elif isinstance(error, RequestError):
            told = str(error)[:SAID_CHARS]
            if isinstance(error, TimedOut) and not repeatable(request):
                told += "; it may have been carried out all the same" * ("known" not in told)
        else:
            raise error
        self._untold.append({"asked": [*asked, told, error is None]})

    # Watches and leases -------------------------------------------------------------------------

    def _watch(self, command: dict) -> list[Plan]:
        request, spoken = self.what_to_watch(command)
        name = f"watch_{self._opened + 1}"

        def open_it(node: str) -> None:
            self._opened += 1
            self._start(lambda: self.cluster.watch(request, node), partial(opened, str(request)))

        def opened(what: str, stream: Any, error: Exception | None) -> None:
            if error is not None:
                raise error
            self._watches[f"{self.client}/{name}"] = (what.removeprefix("watch "), stream)
            self._tell_watches()

        return [Plan(f"{name} = client.watch({spoken})", open_it, command.get("node") or "")]

    def _tell_watches(self) -> None:
        told = [[name, what[:120]] for name, (what, _) in self._watches.items()]
        self._untold.append({"watches": told[-12:]})

    def _unwatch(self, command: dict) -> list[Plan]:
        name = command["stream"]
        if name not in self._watches:
            raise Refusal("stream", f"{name} is no watch of this panel")

        def close(_: str) -> None:
            _, stream = self._watches.pop(name)
            self._tell_watches()
            self._start(lambda: self.cluster.unwatch(stream), _fail)

        return [Plan(f"{name.rpartition('/')[2]}.cancel()", close, None)]

    def kept(self) -> list[int]:
        """The leases that the panel keeps alive."""
        return sorted(self._kept)

    def _channel(self, node: str, name: str | None = None) -> Any:
        return self  # keep and unkeep, which is all that is asked of a channel

    def keep(self, lease: int, node: str, every_s: float) -> None:
        """Keep a lease alive."""
        self._kept.add(lease)
        self._start(lambda: self.cluster.keep(lease, every_s), _fail)

    def unkeep(self, lease: int) -> None:
        """Let it run out."""
        self._kept.discard(lease)
        self._start(lambda: self.cluster.unkeep(lease), _fail)

    def tell_again(self) -> None:
        super().tell_again()
        if self._watches:
            self._tell_watches()

    # Members ------------------------------------------------------------------------------------

    def _add(self, command: dict) -> list[Plan]:
        """A member gets a process of its own, and the next name."""
        cluster, name = self.cluster, command.get("name", "").strip()
        learner = bool(command.get("learner"))
        usual = f"n{max(int(re.sub('[^0-9]', '', known) or 0) for known in cluster.nodes) + 1}"
        if name in cluster.nodes:
            why = f"{name} is a member, or was one, and no number is given twice"
            raise Refusal("name", f"{why}: the next is called {usual}")
        if name != usual:
            raise Refusal("name", f"the next member of this cluster is called {usual}")

        def add(_: str) -> None:
            self._untold.append({"notice": f"{name} is added and started …"})
            self._start(lambda: cluster.do("add_node", learner), added)

        def added(_: Any, error: Exception | None) -> None:
            _fail(None, error)
            self._untold.append({"notice": f"{name} serves."})

        return [Plan(f"cluster.add_node({'learner=True' * learner})", add, None)]

    def reader(self, op: str) -> Callable[[dict], list[Plan]]:
        """What reads a command of that name."""
        match op:
            case "watch":
                return self._watch
            case "unwatch":
                return self._unwatch
            case "member_add" | "member_new":
                return self._add
        return super().reader(op)


def _fail(_: Any, error: Exception | None) -> None:
    if error is not None:
        raise error
