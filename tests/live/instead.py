"""An object that is asked in the place of another: as that one is, but for what a test gives."""

from __future__ import annotations

from typing import Any


class Instead:
    """`Instead(real, method=function)`: the test's method, and all others of `real`."""

    def __init__(self, real: Any, **given: Any):
        self._real = real
        vars(self).update(given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def failing_commit(txn: Any, error: Exception) -> Instead:
    """A transaction of LMDB that is lost when it shall be made durable."""

    def commit() -> None:
        txn.abort()
        raise error

    return Instead(txn, commit=commit)
