"""The status codes of gRPC: numbers on the wire, names in errors, and what Go calls them.

>>> Code["NOT_FOUND"].value, Code.NOT_FOUND.in_go
(5, 'NotFound')

Source: grpc doc/statuscodes.md; grpc-go codes/code_string.go (one letter less in one of them).
"""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """How a call ended. `Code[error.code]` is that of a RequestError."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def in_go(self) -> str:
        """The name in etcd's metrics, and in texts that quote an error."""
        special = {Code.OK: "OK", Code.CANCELLED: "Canceled"}
        return special.get(self) or self.name.title().replace("_", "")
