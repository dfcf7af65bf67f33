"""The headers of gRPC over HTTP/2: blocks of bytes that come in, blocks of bytes that go out.

A connection packs its headers with HPACK, whose dynamic table both ends build up together. Two
observations make that cheap. A request's block that left the table as it was means the same when
it comes again, until a block does change the table; a client that asks the same method a thousand
times sends the same block a thousand times, and `RequestHeaders` looks it up. And an answer whose
fields are written as never-indexed literals is the same bytes on every connection:

>>> trailers(0).hex(" ")[:5]          # a literal field, "never indexed", with a new name
'10 88'
>>> percent("key «a» is 100%")
'key %C2%ABa%C2%BB is 100%25'
>>> seconds("250m")
0.25

Source: RFC 7541 (the codec itself is the library `hpack`); RFC 9113 8.2 and 8.3 (fields that make
a request malformed); gRPC's PROTOCOL-HTTP2.md (names, timeout, status, message).
Differs: fields that come twice are joined by a comma in `metadata`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple
from hpack.table import HeaderTable

from kvlearn.live.codes import Code

KNOWN_BLOCKS = 256  # remembered a connection; more would be a client that never asks twice
KNOWN_BYTES = 4096  # a longer block is not worth remembering
TEXT_BYTES = 4000  # of a grpc-message: three bytes each, within a frame and most clients' limits
LIST_BYTES = 65536  # of one request's fields, unpacked
UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

ENCODINGS = ("identity", "gzip")
CONNECTION_FIELDS = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
}
NOT_IN_NAMES = re.compile(rb"[^!-9;-@\[-~]")  # visible ASCII, no colon, no capitals
NOT_IN_VALUES = re.compile(rb"[\0\r\n]")
UNSAFE = re.compile(rb"[^ -$&-~]")  # what a grpc-message cannot hold as it is


class Request:
    """What the headers of one request say.

    `refusal` is the block of an answer that ends the call at once; `malformed` says why the
    stream is to be reset; `grpc` is False for any other use of HTTP/2.
    Invariant: shared by all calls with the same block, so nobody may change it.
    """

    __slots__ = (
        "encoding",
        "grpc",
        "malformed",
        "metadata",
        "method",
        "path",
        "refusal",
        "timeout_s",
    )

    def __init__(self, malformed: str = ""):
        self.method = self.path = ""
        self.metadata: dict[str, str] = {}
        self.timeout_s: float | None = None
        self.encoding = "identity"
        self.grpc = True
        self.refusal: bytes | None = None
        self.malformed = malformed


class _Table(HeaderTable):
    """HPACK's dynamic table, which counts its changes."""

    changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)

    @HeaderTable.maxsize.setter
    def maxsize(self, newmax: int) -> None:
        self.changes += 1
        HeaderTable.maxsize.fset(self, newmax)


class RequestHeaders:
    """Reads the header blocks of one connection, in the order in which they came."""

    def __init__(self) -> None:
        self._decoder = Decoder(LIST_BYTES)
        self._table = self._decoder.header_table = _Table()
        self.known: dict[bytes, Request] = {}

    def read(self, block: bytes) -> Request:
        """The request of a block. Ask `known` first: that is what it is for.

        Raises: HPACKError, after which the connection cannot go on.
        """
        changes = self._table.changes
        try:
            fields = self._decoder.decode(block, raw=True)
        except (IndexError, ValueError) as error:
            raise HPACKError("the block ends within a field") from error
        request = read_request(fields)
        if self._table.changes != changes or len(self.known) >= KNOWN_BLOCKS:
            self.known.clear()
        if self._table.changes == changes and len(block) <= KNOWN_BYTES:
            self.known[block] = request
        return request


def read_request(fields: list[tuple[bytes, bytes]]) -> Request:
    """The request of unpacked fields; what is wrong with them is in `malformed` or `refusal`.

    >>> request = read_request([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/B"),
    ...     (b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"token", b"x.1")])
    >>> request.path, request.metadata["token"], request.malformed
    ('/a/B', 'x.1', '')
    """
    pseudo: dict[bytes, bytes] = {}
    request = Request()
    metadata = request.metadata
    for name, value in fields:
        if name[:1] == b":":
            if metadata or name in pseudo:
                return Request(f"the pseudo field {name!r} is repeated or late")
            pseudo[name] = value
        elif wrong := _wrong(name, value):
            return Request(wrong)
        else:
            key, text = name.decode(), value.decode("utf-8", "surrogateescape")
            metadata[key] = f"{metadata[key]},{text}" if key in metadata else text
    method, path = pseudo.pop(b":method", b""), pseudo.pop(b":path", b"")
    authority = pseudo.pop(b":authority", None)
    if not pseudo.pop(b":scheme", b"") or not method or not path or pseudo:
        return Request("the pseudo fields are not :method, :scheme, :path and :authority")
    if authority is not None:
        metadata.setdefault("host", authority.decode("utf-8", "surrogateescape"))
    request.method = method.decode("utf-8", "surrogateescape")
    request.path = path.decode("utf-8", "surrogateescape")
    return _read_grpc(request)


def _wrong(name: bytes, value: bytes) -> str:
    if not name or NOT_IN_NAMES.search(name):
        return f"the field name {name!r} is not legal"
    if name in CONNECTION_FIELDS or (name == b"te" and value.lower() != b"trailers"):
        return f"the field {name!r} belongs to HTTP/1.1"
    if NOT_IN_VALUES.search(value):
        return f"the field {name!r} has a line end in it"
    return ""


def _read_grpc(request: Request) -> Request:
    """Add what gRPC's own fields say."""
    metadata = request.metadata
    kind = metadata.get("content-type", "").lower()
    if not re.match(r"application/grpc($|[+;])", kind):
        request.grpc = False
    elif request.method != "POST":
        request.refusal = block((":status", "405"), ("allow", "POST"))
    elif kind[16:17] == "+" and not kind.startswith("application/grpc+proto"):
        request.refusal = block((":status", "415"))
    request.encoding = metadata.get("grpc-encoding", "identity") or "identity"
    if request.grpc and request.encoding not in ENCODINGS:
        request.refusal = refused_encoding(request.encoding)
    timeout = metadata.get("grpc-timeout")
    if timeout is not None and request.grpc:
        try:
            request.timeout_s = seconds(timeout)
        except ValueError as error:
            request.refusal = refused(Code.INTERNAL, str(error))
    return request


def seconds(timeout: str) -> float:
    """The seconds of a grpc-timeout field: at most eight digits and a unit.

    Raises: ValueError.
    """
    if not re.fullmatch(r"[0-9]{1,8}[HMSmun]", timeout):
        raise ValueError(f"malformed grpc-timeout: {timeout!r}")
    return int(timeout[:-1]) * UNITS[timeout[-1]]


# Answers ------------------------------------------------------------------------------------


def block(*fields: tuple[str, str]) -> bytes:
    """A header block that needs no dynamic table, so it is the same on every connection."""
    return Encoder().encode([NeverIndexedHeaderTuple(name, value) for name, value in fields])


def percent(text: str) -> str:
    """A grpc-message: UTF-8, percent-encoded; what is too long for a header is cut off."""
    safe = text.encode("utf-8", "replace")[:TEXT_BYTES]
    return UNSAFE.sub(lambda byte: b"%%%02X" % byte[0][0], safe).decode("ascii")


def _status(code: int, text: str) -> list[tuple[str, str]]:
    message = [("grpc-message", percent(text))] if text else []
    return [("grpc-status", str(code)), *message]


@lru_cache(maxsize=512)
def trailers(code: int, text: str = "") -> bytes:
    """The block that ends an answer whose headers were sent."""
    return block(*_status(code, text))


@lru_cache(maxsize=512)
def refused(code: int, text: str = "") -> bytes:
    """The block of an answer that is nothing but its end: "trailers only"."""
    return block(*_OPENING, *_status(code, text))


def refused_encoding(encoding: str) -> bytes:
    """The answer to messages packed in a way that is not known here."""
    text = f'grpc: Decompressor is not installed for grpc-encoding "{encoding}"'
    accepted = ("grpc-accept-encoding", ",".join(ENCODINGS))
    return block(*_OPENING, accepted, *_status(Code.UNIMPLEMENTED, text))


_OPENING = [(":status", "200"), ("content-type", "application/grpc")]
OPENING = block(*_OPENING)
