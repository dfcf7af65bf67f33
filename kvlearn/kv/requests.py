"""What a client can ask, and what it gets: etcd's requests and answers, field by field.

All keys and values are bytes. A request's `str` is short, because log cells and lanes print it:

>>> print(Put(b"a", b"1"), "|", Range(b"a"), "|", DeleteRange(b"a"))
put a=1 | get a | delete a
>>> print(Range(b"jobs/", prefix_end(b"jobs/"), revision=5), "|", Range(b"a", b"c"))
get jobs/* at 5 | get [a, c)

An interval is `key` up to, but without, `range_end`. An empty `range_end` means the single key,
one zero byte means everything from `key` upwards:

>>> print(Range(b"k", FROM_KEY), "|", Range(b"\\0", FROM_KEY))
get k and above | get everything

Source: etcd api/etcdserverpb/rpc.proto. Differs: sort orders and targets are words, not numbers.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from kvlearn.errors import RequestError, request_error
from kvlearn.mvcc.revision import KeyValue, short
from kvlearn.mvcc.store import FROM_KEY
from kvlearn.values import LEFT_OUT, value

SORT_TARGETS = {  # word -> field of KeyValue
    "key": "key",
    "version": "version",
    "create": "create_revision",
    "mod": "mod_revision",
    "value": "value",
}
SORT_ORDERS = ("none", "ascend", "descend")


def as_bytes(text: str | bytes) -> bytes:
    """Keys and values may be given as text; they travel as bytes (UTF-8).

    Raises: TypeError for anything else (bytes(5) would be five zero bytes), ValueError for text
    that is none (half of a character).
    """
    if isinstance(text, str):
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"this text has no form in UTF-8; give bytes: {text!r}") from None
    if isinstance(text, (bytes, bytearray, memoryview)):
        return bytes(text)
    raise TypeError(f"keys and values are str or bytes, not {type(text).__name__}: {text!r}")


def prefix_end(prefix: bytes) -> bytes:
    """The `range_end` that makes an interval of all keys that begin with `prefix`.

    >>> prefix_end(b"job/"), prefix_end(b"a\\xff"), prefix_end(b"\\xff")
    (b'job0', b'b', b'\\x00')
    """
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else FROM_KEY


def prefix_range(prefix: bytes) -> tuple[bytes, bytes]:
    """`key` and `range_end` of all keys that begin with `prefix`; the empty prefix is every key."""
    return prefix or b"\0", prefix_end(prefix)


def interval(key: bytes, range_end: bytes) -> str:
    """An interval in words: `a`, `a*` (prefix), `[a, c)`, `a and above`, `everything`."""
    if not range_end:
        return short(key)
    if range_end == FROM_KEY:
        return "everything" if key == b"\0" else f"{short(key)} and above"
    if range_end == prefix_end(key):
        return f"{short(key)}*"
    return f"[{short(key)}, {short(range_end)})"


# Requests -----------------------------------------------------------------------------------


@value
class Range:
    """Read the pairs of an interval, now or at a past `revision` (0: now).

    Order of work: collect at the revision, filter (`min_...`, `max_...`, inclusive, 0: none),
    sort, cut at `limit` (0: none). `count` is the interval's number of keys, whatever came of it.
    """

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: str = "none"  # of SORT_ORDERS
    sort_target: str = "key"  # of SORT_TARGETS
    serializable: bool = False  # answer from this node's own state, which may be stale
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0

    def __str__(self) -> str:
        verb = "count" if self.count_only else "get"
        at = f" at {self.revision}" if self.revision > 0 else ""
        return f"{verb} {interval(self.key, self.range_end)}{at}"


@value
class Put:
    """Write one pair. `ignore_value` and `ignore_lease` keep what the key has, which must exist."""

    key: bytes
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False

    def __str__(self) -> str:
        if self.ignore_value:
            return f"put {short(self.key)}, value kept"
        lease = f" with lease {self.lease:x}" if self.lease else ""
        return f"put {short(self.key)}={short(self.value)}{lease}"


@value
class DeleteRange:
    """Delete the keys of an interval, all in one revision, in key order."""

    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False

    def __str__(self) -> str:
        return f"delete {interval(self.key, self.range_end)}"


@value
class Command:
    """What a log entry holds: a request, and who waits for the answer (`op_id` at `origin`).

    `user` is who asks, where authentication is on, and `auth` the revision of users and roles by
    which the origin knew it. The node's own commands have op_id 0.
    """

    origin: str
    op_id: int
    request: Any
    user: str = field(default="", repr=False, metadata={LEFT_OUT: True})
    auth: int = field(default=0, repr=False, metadata={LEFT_OUT: True})

    def __str__(self) -> str:
        return str(self.request)


# Answers ------------------------------------------------------------------------------------


@value
class RangeResult:
    """`more`: the limit cut pairs off; `count`: keys in the interval, with all that was cut."""

    kvs: tuple[KeyValue, ...] = ()
    more: bool = False
    count: int = 0

    @property
    def value(self) -> bytes | None:
        """The first pair's value; None if there is none."""
        return self.kvs[0].value if self.kvs else None

    @property
    def text(self) -> str | None:
        """The first pair's value as text; None if there is none."""
        return self.kvs[0].text if self.kvs else None

    def __str__(self) -> str:
        if not self.kvs:
            return f"{self.count} keys" if self.count else "nothing"
        shown = " ".join(str(kv) for kv in self.kvs[:4])
        return shown + (" …" if self.more or len(self.kvs) > 4 else "")


@value
class PutResult:
    """`prev_kv`: what the key held before, if that was asked for and there was something."""

    prev_kv: KeyValue | None = None

    def __str__(self) -> str:
        return "ok" if self.prev_kv is None else f"ok (was {self.prev_kv})"


@value
class DeleteResult:
    """`deleted`: how many keys went; `prev_kvs`: what they held, in key order, if asked for."""

    deleted: int = 0
    prev_kvs: tuple[KeyValue, ...] = ()

    def __str__(self) -> str:
        return f"{self.deleted} deleted"


@value
class Header:
    """Stands on every answer. `revision` is the store's, `raft_term` the answering node's."""

    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0
    raft_term: int = 0


@value
class Answer:
    """The answer to operation `op_id`: a result, or an error written down as a value.

    >>> from kvlearn.errors import EmptyKey
    >>> answer = Answer.refusal(7, Header(revision=3), EmptyKey())
    >>> answer.error, answer.failure
    ('EmptyKey', EmptyKey('etcdserver: key is not provided'))
    """

    op_id: int
    header: Header = Header()
    result: Any = None
    error: str = ""  # the name of a RequestError's class; "": carried out
    error_text: str = ""
    hint: str = ""

    @classmethod
    def refusal(cls, op_id: int, header: Header, error: RequestError) -> Answer:
        """An answer that says why nothing was done."""
        return cls(op_id, header, None, type(error).__name__, error.text, error.hint)

    @property
    def failure(self) -> RequestError | None:
        """The error as an exception again, ready to be raised; None if there is none."""
        return request_error(self.error, self.error_text, self.hint) if self.error else None

    def __str__(self) -> str:
        return self.error_text or str(self.result)
