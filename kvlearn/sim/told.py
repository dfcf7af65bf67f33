"""How values are told in a code: what is plain of them, few bits each, read back exactly.

Every value has a *role* (a key, a node, a lease …). Texts and odd numbers that were told in a role
once are told by their place from then on; what a request has anyway costs next to nothing.

>>> from kvlearn.kv.requests import Put
>>> from kvlearn.sim.squeeze import Reader, Writer
>>> writer = Writer()
>>> _ = Told(writer).thing("request", Put(b"shop/apple", b"12", lease=7))
>>> Told(Reader(writer.finish())).thing("request")
Put(key=b'shop/apple', value=b'12', lease=7, prev_kv=False, ignore_value=False, ignore_lease=False)
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

from kvlearn.kv import leases, members, requests, txn, upkeep, watches
from kvlearn.sim.squeeze import Reader, Writer, number, symbol

NONE, FALSE, TRUE, INT, NEGATIVE, MICROS, FLOAT, TEXT, BYTES, TUPLE, VALUE, AGAIN = range(12)
FORM_BITS = 4
LONGEST = 1000  # bytes of a text, parts of a tuple
ODD = 1 << 20  # whole numbers from here on are remembered
# A new word goes to the end, and what is taken away leaves a hole: codes tell places in this list.
WORDS: tuple[type, ...] = (
    *(requests.Put, requests.Range, requests.DeleteRange, txn.Txn, txn.Compare),
    *(watches.WatchCreate, watches.WatchCancel, watches.WatchProgress),
    *(leases.LeaseGrant, leases.LeaseRevoke, leases.LeaseKeepAlive, leases.LeaseTimeToLive),
    *(leases.LeaseLeases, leases.Compact, members.MemberList, members.MemberAdd),
    *(members.MemberRemove, members.MemberPromote, members.MemberChange, members.MoveLeader),
    *(upkeep.Status, upkeep.HashKV, upkeep.Defragment, upkeep.SnapshotState, upkeep.Alarm),
)
WORD_BITS = 5
LATER = {  # fields of real members, which came after the first codes and have no place in one
    *((members.MemberAdd, name) for name in ("peer_urls", "id")),
    *((members.MemberRemove, "id"), (members.MemberPromote, "id")),
}
# Roles that name the same things share what they remember.
SAME = {"range_end": "key", "nodes": "node", "groups": "node", "lease": "id"}


class Told:
    """Tells values to a writer, or gets them from a reader; both remember the same."""

    def __init__(self, coder: Writer | Reader):
        self.coder = coder
        self._known: dict[str, list[Any]] = {"node": [f"n{k}" for k in range(1, 10)]}

    def number(self, role: Any, n: int | None = None) -> int:
        """A number from 0 on."""
        return number(self.coder, role, n)

    def thing(self, role: str, thing: Any = None) -> Any:
        """A value, or plain data: numbers, texts, bytes, tuples of them.

        Raises: ValueError for anything else, and for a text that is too long.
        """
        known = self._known.setdefault(SAME.get(role, role), [])
        form = place = None
        if self.coder.writes:
            place = next((k for k, one in enumerate(known) if _same(one, thing)), None)
            form = _form(thing) if place is None else AGAIN
        form = symbol(self.coder, ("form", role), FORM_BITS, form)
        if form == AGAIN:
            return known[number(self.coder, ("place", role), place)]
        thing = self._new(role, form, thing)
        if form in (TEXT, BYTES, FLOAT, MICROS) or form == INT and thing >= ODD:
            known.append(thing)
        return thing

    def _new(self, role: str, form: int, thing: Any) -> Any:
        writes = self.coder.writes
        match form:
            case 0 | 1 | 2:
                return (None, False, True)[form]
            case 3:
                return self.number((role, "int"), thing)
            case 4:
                return -self.number((role, "negative"), -thing if writes else None)
            case 5:
                return self.number((role, "us"), _micros(thing) if writes else None) / 1e6
            case 6:
                return time_after(self._raw(64, steps_to(thing) if writes else None))
            case 7:
                data = self._bytes(role, thing.encode("utf-8", "surrogatepass") if writes else None)
                return data.decode("utf-8", "surrogatepass")
            case 8:
                return self._bytes(role, thing)
            case 9:
                length = self.number((role, "length"), len(thing) if writes else None)
                _check_length(length)
                return tuple(self.thing(role, thing[k] if writes else None) for k in range(length))
            case 10:
                return self._value(role, thing)
        raise ValueError(f"no value has form {form}")

    def _raw(self, width: int, bits: int | None) -> int:
        told = 0
        for place in reversed(range(width)):
            told = told << 1 | self.coder.bit(None, None if bits is None else bits >> place & 1)
        return told

    def _bytes(self, role: str, data: bytes | None) -> bytes:
        length = self.number((role, "bytes"), None if data is None else len(data))
        _check_length(length)
        told = bytearray()
        for place in range(length):
            before = _kind(told[-1]) if told else 0
            symbol_ = None if data is None else data[place]
            told.append(symbol(self.coder, ("byte", before), 8, symbol_))
        return bytes(told)

    def _value(self, role: str, thing: Any) -> Any:
        writes = self.coder.writes
        place = WORDS.index(type(thing)) if writes else None
        place = symbol(self.coder, ("word", role), WORD_BITS, place)
        if place >= len(WORDS):
            raise ValueError(f"there is no word {place}")
        word = WORDS[place]
        fields = []
        for field in dataclasses.fields(word):
            if (word, field.name) in LATER:
                fields.append(field.default)
                continue
            given = getattr(thing, field.name) if writes else None
            usual = int(_same(given, field.default)) if writes else None
            if field.default is not dataclasses.MISSING:
                if self.coder.bit(("usual", place, field.name), usual):
                    fields.append(field.default)
                    continue
            fields.append(self.thing(field.name, given))
        return word(*fields)


def _check_length(length: int) -> None:
    if length > LONGEST:
        raise ValueError(
            f"a text of {length:,} bytes, or parts, is too long for a code, which takes "
            f"{LONGEST:,}; cluster.save(path) keeps it in a file"
        )


def steps_to(time: float) -> int:
    """How many numbers with a point stand between 0.0 and this one (its 64 bits as a number)."""
    return struct.unpack(">Q", struct.pack(">d", time))[0]


def time_after(steps: int) -> float:
    """The number with a point that `steps_to` counted."""
    return struct.unpack(">d", struct.pack(">Q", steps))[0]


def _form(thing: Any) -> int:
    """Which form a thing is told in. Raises: ValueError for what has none."""
    if thing is None:
        return NONE
    if isinstance(thing, bool):
        return TRUE if thing else FALSE
    if type(thing) in WORDS:
        return VALUE
    match thing:
        case int():
            return INT if thing >= 0 else NEGATIVE
        case float():
            return FLOAT if _micros(thing) is None else MICROS
        case str():
            return TEXT
        case bytes():
            return BYTES
        case tuple():
            return TUPLE
    raise ValueError(
        f"a code cannot tell {thing!r}, a {type(thing).__name__}: only requests, numbers and texts"
    )


def _micros(time: float) -> int | None:
    """The whole number of millionths that this is exactly, or None."""
    if not 0 <= time < 1e9 or (time == 0 and str(time) != "0.0"):
        return None
    micros = round(time * 1e6)
    return micros if micros / 1e6 == time else None


def _same(one: Any, other: Any) -> bool:
    """Equal, and of one type: True is not 1, and 1 not 1.0."""
    return type(one) is type(other) and one == other and str(one) == str(other)


def _kind(byte: int) -> int:
    """What kind of character, which tells much about the next one."""
    if chr(byte).isdigit():
        return 1
    return 2 if chr(byte).isalpha() else 3
