"""Frames of HTTP/2: their numbers, their layout, and how much of each is borne.

```
 length: 3 bytes | type: 1 | flags: 1 | stream: 4     then `length` bytes
```

>>> HEAD.pack(5 << 8 | DATA, END_STREAM, 7).hex(" ", -1)
'00 00 05 00 01 00 00 00 07'

Source: RFC 9113 4.1 (layout), 6 (types), 7 (error codes). Differs: nothing.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = range(6)
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(6, 10)
ACK = END_STREAM = 0x1  # one bit, two meanings: the first in SETTINGS and PING
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
ENHANCE_YOUR_CALM = 11

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_WINDOW = 2**31 - 1
FRAME_BYTES = 16384  # of what we read: every peer may count on it, and larger gains nothing
HEADER_BYTES = 65536  # of one header block with its continuations
CONNECTION_WINDOW = 16 * 2**20  # bytes on their way to us, all streams together
STREAM_WINDOW = 2**20  # and of one stream
FULL_BYTES = 2**20  # that wait for the client before a call is full
CROWD_BYTES = 64 * 2**20  # that wait on a connection before it takes no further call
TURN_BYTES = 2**20  # written in one turn of the loop; the rest waits its turn
SHARE_BYTES = 65536  # that a waiting call may send before the next one's turn
PATIENCE = 10_000  # frames of no use (pings, resets, ...) that are borne at once,
PATIENCE_PER_S = 1_000.0  # and how many more in each second
FORGOTTEN = 1_000  # streams that we reset and whose late frames are ignored
REQUEST_BYTES = 2 * 2**20  # etcd: 1.5 MiB and half a mebibyte for what is around it

HEAD = Struct(">IBI")  # length and type, flags, stream
PREFIX = Struct(">BI")  # of a gRPC message: packed or not, length
U32 = Struct(">I")
SETTING = Struct(">HI")


def ignore(*_: Any) -> None:
    """What a call does with what nobody asked for."""


class ConnectionEnds(Exception):
    """The peer broke the protocol: the connection ends with this code."""

    def __init__(self, code: int, why: str):
        self.code = code
        super().__init__(why)


def unpad(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the content of a padded frame begins and ends."""
    if start >= end or data[start] >= end - start:
        raise ConnectionEnds(PROTOCOL_ERROR, "more padding than frame")
    return start + 1, end - data[start]
