"""Revisions: the store's own clock, and the keys of the grey tree.

Every request that changes something takes the next *main* revision, whatever it changes; the
changes inside it are numbered by *sub* from 0. The backend keeps one record a change, under the
revision written as bytes: main, an underscore, sub, both big-endian, so that the order of the
bytes is the order of the revisions. A deletion's key carries one more byte, the tombstone mark.

>>> Revision(4).key().hex(" ")
'00 00 00 00 00 00 00 04 5f 00 00 00 00 00 00 00 00'
>>> Revision(4, 1).key(tombstone=True)[-1:]
b't'
>>> print(Revision.parse(Revision(4, 1).key(tombstone=True)))
4.1
>>> Revision(4) < Revision(4, 1) < Revision(10)
True

Source: etcd server/storage/mvcc/revision.go.
"""

from __future__ import annotations

import struct

from kvlearn.values import value

KEY_BYTES = 17  # of a put's key; a tombstone's has one more
_SEPARATOR = ord("_")
_pack = struct.Struct(">QBQ").pack
_unpack = struct.Struct(">QBQ").unpack_from


@value(order=True)
class Revision:
    """`main`: which request changed the store; `sub`: which change inside that request."""

    main: int
    sub: int = 0

    def key(self, tombstone: bool = False) -> bytes:
        """The backend key: 17 bytes, or 18 with the tombstone mark."""
        return put_key(self.main, self.sub) + (b"t" if tombstone else b"")

    @classmethod
    def parse(cls, key: bytes) -> Revision:
        """The revision that a backend key stands for."""
        main, _, sub = _unpack(key)
        return cls(main, sub)

    def __str__(self) -> str:
        return f"{self.main}.{self.sub}"


def put_key(main: int, sub: int) -> bytes:
    """The backend key of a put, made without a Revision (the hot path of every write)."""
    return _pack(main, _SEPARATOR, sub)


def is_tombstone(key: bytes) -> bool:
    """Whether a backend key marks a deletion."""
    return len(key) > KEY_BYTES


def after(main: int) -> bytes:
    """The bytes that follow every backend key up to revision `main` and precede all later ones.

    >>> Revision(4, 9).key(tombstone=True) < after(4) < Revision(5).key()
    True
    """
    return (main + 1).to_bytes(8, "big")


@value
class KeyValue:
    """What the backend keeps under one revision: the pair and where it stands in its life.

    Revisions here are main revisions. A tombstone has the key and `mod_revision` and nothing else.
    Invariant of a living pair: create_revision <= mod_revision and version >= 1.
    """

    key: bytes
    value: bytes
    create_revision: int = 0  # when this life of the key began
    mod_revision: int = 0  # when it got this value
    version: int = 0  # how many puts this life has seen; 1 is the first
    lease: int = 0  # 0: none

    @property
    def text(self) -> str:
        """The value as text; bytes that are not UTF-8 are escaped."""
        return self.value.decode("utf-8", "backslashreplace")

    @property
    def key_text(self) -> str:
        """The key as text; bytes that are not UTF-8 are escaped."""
        return self.key.decode("utf-8", "backslashreplace")

    def __str__(self) -> str:
        return f"{short(self.key)}={short(self.value)}"


def short(data: bytes, limit: int = 24) -> str:
    """`data` for one line of a log: text as it is, the rest escaped, what is too long cut with `…`.

    >>> short("käse".encode()), short(b"a\\xff\\n"), short(b"0123456789", limit=4)
    ('käse', 'a\\\\xff\\\\n', '012…')
    """
    # Decoding a whole megabyte to print 24 characters would make every log line slow.
    text = data[: 4 * limit + 4].decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
