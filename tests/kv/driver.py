"""A state machine without a cluster: each request is an entry of the log."""

from __future__ import annotations

from typing import Any

from kvlearn.errors import RequestError
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import FROM_KEY, Command, Range
from kvlearn.mvcc.backend import MemoryBackend


class Driver:
    """Call it with a request: its result is returned, its refusal raised."""

    def __init__(self):
        self.machine = KVMachine(MemoryBackend())

    def __call__(self, request: Any) -> Any:
        machine = self.machine
        index = machine.applied + 1
        result, error = machine.apply(index, 1, Command("n1", index, request))
        if error is not None:
            raise error
        return result

    def refusal(self, request: Any) -> tuple[str, str]:
        """The code and the text with which it is refused; nothing else may happen."""
        machine = self.machine
        before = machine.store.hash(), machine.revision, machine.lessor.save(), self.state
        try:
            result = self(request)
        except RequestError as error:
            after = machine.store.hash(), machine.revision, machine.lessor.save(), self.state
            assert before == after and not machine.changes, "a refused request changed something"
            return error.code, error.text
        raise AssertionError(f"not refused: {result}")

    @property
    def state(self) -> str:
        """All pairs, as `key=value@mod_revision`."""
        kvs = self.machine.read(Range(b"\0", FROM_KEY)).kvs
        return " ".join(f"{kv}@{kv.mod_revision}" for kv in kvs)

    @property
    def changes(self) -> list[str]:
        """What the last request changed, in order: `key=value` or `-key`."""
        return [str(kv) if kv.version else f"-{kv.key_text}" for kv in self.machine.changes]
