"""Few bits for what is expected: an arithmetic coder that learns as it goes.

A text of decisions becomes one number, and each decision takes as little of it as it was likely.
How likely a decision is, is counted on the way, by its *context*: so whoever reads counts the same,
and nothing of that has to be told.

>>> writer = Writer()
>>> for n in (3, 3, 3, 200, 3, 3, 3, 3, 3, 3):
...     _ = number(writer, "age", n)
>>> data = writer.finish()
>>> reader = Reader(data)
>>> [number(reader, "age") for _ in range(10)], len(data)
([3, 3, 3, 200, 3, 3, 3, 3, 3, 3], 4)

`number` and `symbol` are written once for both ways: a writer takes what it is given and gives it
back, a reader gives what was written.

Source: G. Martin, Range encoding (1979); R. Krichevsky and V. Trofimov (1981) for the estimate.
"""

from __future__ import annotations

from collections.abc import Hashable

WHOLE = 1 << 32  # the span of numbers that decisions divide among themselves
LEAST = 1 << 24  # below it the span is stretched by a byte
FIRST, MORE = 2, 5  # a count starts so, and grows so: a first guess that is soon given up
MOST_COUNTED = 1 << 16  # then old decisions count half
WIDTH_BITS = 7  # of a number's length: numbers below 2**127 can be told


class Coder:
    """What writer and reader share. Invariant: LEAST <= span <= WHOLE."""

    def __init__(self) -> None:
        self.span = WHOLE
        self.counts: dict[Hashable, list[int]] = {}

    def _bound(self, counts: list[int] | None) -> int:
        """Where the span divides: below it stands a 0."""
        return self.span // 2 if counts is None else self.span * counts[0] // sum(counts)

    def _counts(self, context: Hashable) -> list[int] | None:
        """None: such bits have no context, and are as likely 0 as 1."""
        return None if context is None else self.counts.setdefault(context, [FIRST, FIRST])

    @staticmethod
    def _learn(counts: list[int] | None, bit: int) -> None:
        if counts is not None:
            counts[bit] += MORE
            if counts[bit] > MOST_COUNTED:
                counts[:] = [count // 2 + 1 for count in counts]


class Writer(Coder):
    """Decisions go in, bytes come out."""

    writes = True

    def __init__(self) -> None:
        super().__init__()
        self.low, self.stretched = 0, 0

    def bit(self, context: Hashable, bit: int | None = None) -> int:
        """Write one decision, 0 or 1."""
        assert bit is not None, "a writer must be told what to write"
        counts = self._counts(context)
        bound = self._bound(counts)
        if bit:
            self.low, self.span = self.low + bound, self.span - bound
        else:
            self.span = bound
        self._learn(counts, bit)
        while self.span < LEAST:
            self.low, self.span, self.stretched = self.low << 8, self.span << 8, self.stretched + 1
        return bit

    def finish(self) -> bytes:
        """All that was written: the shortest number within what is left of the span."""
        length = 4 + self.stretched
        for zeros in range(8 * length, -1, -8):
            number = (self.low + (1 << zeros) - 1) >> zeros << zeros
            if number < self.low + self.span:
                break
        return number.to_bytes(length, "big")[: length - min(4, zeros // 8)]


class Reader(Coder):
    """Bytes go in, the same decisions come out; just behind the end there are zeros."""

    writes = False

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data, self._next = data, 4
        self._code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")

    def bit(self, context: Hashable, bit: int | None = None) -> int:
        """Read one decision. Raises: ValueError for more of them than were written."""
        counts = self._counts(context)
        bound = self._bound(counts)
        bit = int(self._code >= bound)
        if bit:
            self._code, self.span = self._code - bound, self.span - bound
        else:
            self.span = bound
        self._learn(counts, bit)
        while self.span < LEAST:
            if self._next >= len(self._data) + 4:
                raise ValueError("it ends too early")
            more = self._data[self._next] if self._next < len(self._data) else 0
            self._code, self.span, self._next = (
                self._code << 8 | more,
                self.span << 8,
                self._next + 1,
            )
        return bit


def symbol(coder: Writer | Reader, context: Hashable, width: int, n: int | None = None) -> int:
    """One of 2**width symbols; each bit is guessed from those before it."""
    told = 1
    for place in reversed(range(width)):
        bit = None if n is None else n >> place & 1
        told = told << 1 | coder.bit((context, width, told), bit)
    return told - (1 << width)


def number(coder: Writer | Reader, context: Hashable, n: int | None = None) -> int:
    """A number from 0 on. Its length and its first digits are guessed, the others are not.

    Raises: ValueError for a number of 2**126 or more.
    """
    if n is not None and not 0 <= n < 1 << 126:
        raise ValueError(f"numbers from 0 to 2**126 can be told in a code, not {n}")
    length = symbol(coder, context, WIDTH_BITS, None if n is None else (n + 1).bit_length())
    told = 1
    for place in reversed(range(max(0, length - 1))):
        bit = None if n is None else n + 1 >> place & 1
        guessed = length <= 5 or told < 8
        told = told << 1 | coder.bit((context, length, "digit", told) if guessed else None, bit)
    return told - 1
