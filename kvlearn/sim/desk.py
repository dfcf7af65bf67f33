"""The desk where clients of a simulated cluster ask and get their answers.

A client sits beside the node that it talks to: the way between them takes no time. An operation
is data; whoever waits for its answer looks here while virtual time goes by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from kvlearn.errors import RequestError, Stopped, TimedOut
from kvlearn.events import Invoked, Returned
from kvlearn.kv.kinds import repeatable
from kvlearn.kv.requests import Answer
from kvlearn.sim.clock import VirtualClock
from kvlearn.trace import Trace


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of one client to one node; times in virtual seconds, `answer` once it came."""

    op_id: int
    client: str
    node: str
    request: Any
    call_s: float
    seq: int  # of its Invoked record
    return_s: float | None = None
    answer: Answer | None = None
    error: RequestError | None = None

    @property
    def done(self) -> bool:
        return self.return_s is not None


class Desk:
    """Invariant: every operation is Invoked once and Returned at most once."""

    def __init__(self, clock: VirtualClock, trace: Trace):
        self.clock = clock
        self.trace = trace
        self.operations: dict[int, Operation] = {}
        self.clients = 0  # names given out: c1, c2, ...

    def name_client(self) -> str:
        """A name that no other client has."""
        self.clients += 1
        return f"c{self.clients}"

    def knows(self, name: str) -> bool:
        """Whether a client has that name."""
        return name in {f"c{number}" for number in range(1, self.clients + 1)}

    def ask(self, client: str, node: str, request: Any) -> Operation:
        """Write down that `client` asks `node`."""
        op_id, now = len(self.operations) + 1, self.clock.now
        seq = self.trace.add(now, client, Invoked(op_id, node, request), None)
        operation = Operation(op_id, client, node, request, now, seq)
        self.operations[op_id] = operation
        return operation

    def answered(self, answer: Answer, cause: int | None) -> None:
        """The node has answered."""
        self._close(answer.op_id, cause, answer, answer.failure)

    def refused(self, op_id: int) -> None:
        """Nobody listens at the node's address, so nothing was done."""
        operation = self.operations[op_id]
        error = Stopped(hint=f"{operation.node} is down; ask another node")
        self._close(op_id, operation.seq, None, error)

    def broken(self, op_id: int, cause: int) -> None:
        """The node crashed with the request in its hands: nobody knows what became of it."""
        node = self.operations[op_id].node
        error = TimedOut(hint=f"{node} crashed before it answered{self._unknown(op_id)}")
        self._close(op_id, cause, None, error)

    def give_up(self, op_id: int) -> None:
        """The client waits no longer."""
        operation = self.operations[op_id]
        waited = self.clock.now - operation.call_s
        hint = f"no answer from {operation.node} within {waited:.4g} s{self._unknown(op_id)}"
        error = TimedOut(hint=hint)
        self._close(op_id, operation.seq, None, error)

    def _unknown(self, op_id: int) -> str:
        """What a client without an answer has to know about a write."""
        read = repeatable(self.operations[op_id].request)
        return "" if read else "; whether it was carried out is not known"

    def _close(self, op_id: int, cause, answer: Answer | None, error: RequestError | None) -> None:
        operation, now = self.operations[op_id], self.clock.now
        if operation.done:
            return
        result = answer.result if answer else None
        revision = answer.header.revision if answer else 0
        unknown = isinstance(error, TimedOut) and not repeatable(operation.request)
        text = str(error) if error else ""
        told = Returned(op_id, operation.node, result, revision, text, unknown)
        self.trace.add(now, operation.client, told, cause)
        self.operations[op_id] = replace(operation, return_s=now, answer=answer, error=error)
