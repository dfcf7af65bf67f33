"""Random programs: few keys, few leases, every option, and numbers that are just off.

A program is written while kvlearn carries it out, so that revisions and leases in it are often
real ones. What stands in it are numbers: it can be run again, whole or in part.
"""

from __future__ import annotations

import random
from typing import Any

from kvlearn.kv.leases import (
    Compact,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseLeases,
    LeaseRevoke,
    LeaseTimeToLive,
)  # fmt: skip
from kvlearn.kv.requests import (
    FROM_KEY,
    SORT_ORDERS,
    SORT_TARGETS,
    DeleteRange,
    Put,
    Range,
    prefix_end,
)  # fmt: skip
from kvlearn.kv.txn import MAX_OPS, RESULTS, TARGETS, Compare, Txn
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress
from tests.etcd.sides import GrantAny, GrantShort, Inside, On, Ours

SIZE = 80  # operations in a program
KEYS = (b"a", b"a\0", b"a\xff", b"ab", b"b", b"c/1", b"c/2", b"d", b"\0", b"\xff", b"\xff\xff")
VALUES = (b"", b"1", b"2", b"10", b"\0", b"\xff", b"x" * 30)
LEASES = (1, 2, 3, -1, -(2**63), 2**63 - 1)
ANY_LEASE = 1 << 61  # names of leases whose id the server chooses count from here
MAX_TTL_S = 9_000_000_000
STREAMS = ("s", "t")


class Writer:
    """Writes one program."""

    def __init__(self, seed: str, size: int, ours: Ours):
        self.rng = rng = random.Random(seed)
        self.ours = ours
        self.size = size
        self.program: list[Any] = []
        self.ttl_s = 1000  # no two leases have nearly the same
        self.any_leases = 0
        watching, leasing = rng.choice((0, 0, 4, 8)), rng.choice((1, 1, 4))
        self.kinds = {
            self.put: 14,
            self.range: 14,
            self.delete: 6,
            self.txn: 12,
            self.grant: 2 * leasing,
            self.ask_lease: 3 * leasing,
            self.compact: rng.choice((0, 1, 2, 4)),
            self.inside: 1,
            self.watch: watching,
            self.end_watch: watching * 0.6,
        }

    def write(self) -> list[Any]:
        """The whole program."""
        kinds, weights = list(self.kinds), list(self.kinds.values())
        for _ in range(self.size):
            op = self.rng.choices(kinds, weights)[0]()
            self.program.append(op)
            try:
                for one in (*self.ours.before(op), op):
                    self.ours.run(one)
            except Exception:  # the comparison will come to it, too, and tell
                break
        return self.program

    # Small things -----------------------------------------------------------------------------

    def key(self) -> bytes:
        rng = self.rng
        if rng.random() < 0.01:
            return b""
        return rng.choice(KEYS[:5]) if rng.random() < 0.5 else rng.choice(KEYS)

    def interval(self) -> tuple[bytes, bytes]:
        """A key and a range end: alone, prefix, upwards, everything, between, empty, inverted."""
        rng, key = self.rng, self.key()
        ends = (b"", b"", prefix_end(key), FROM_KEY, rng.choice(KEYS), rng.choice(KEYS), key)
        return rng.choice([(key, rng.choice(ends))] * 4 + [(b"\0", FROM_KEY)])

    def maybe(self, chance: float) -> bool:
        return self.rng.random() < chance

    def revision(self) -> int:
        """Mostly one that can be read, or the present."""
        rng, store = self.rng, self.ours.machine.store
        now, compacted = store.revision, store.compacted
        if self.maybe(0.6):
            return 0
        # Before the first compaction, which the other side has behind it, -1 is not the past.
        past = compacted - 1 if compacted else -2
        near = (now, now + 1, now + 2, compacted, past, compacted + 1, min(past, -1), -2, 1)
        return rng.choice([rng.choice(near), rng.randint(1, now), rng.randint(1, now)])

    def lease(self) -> int:
        """Mostly one that there is, and often the same: so that it has many keys."""
        rng, leases = self.rng, sorted(self.ours.machine.lessor.leases)
        if leases and self.maybe(0.85):
            return leases[0] if self.maybe(0.5) else rng.choice(leases)
        return rng.choice((*LEASES, 99))

    # Requests ---------------------------------------------------------------------------------

    def put(self, key: bytes | None = None) -> Put:
        rng = self.rng
        if self.maybe(0.01):  # wrong in two ways
            return Put(self.key() if key is None else key, lease=99, ignore_value=True)
        keeps_value, keeps_lease = self.maybe(0.1), self.maybe(0.1)
        value = rng.choice(VALUES)
        if keeps_value and self.maybe(0.9):
            value = b""
        leased = 0.03 if keeps_lease or not self.ours.machine.lessor.leases else 0.4
        lease = self.lease() if self.maybe(leased) else 0
        key = self.key() if key is None else key
        return Put(key, value, lease, self.maybe(0.3), keeps_value, keeps_lease)

    def range(self) -> Range:
        rng = self.rng
        key, range_end = self.interval()
        if self.maybe(0.3):
            return Range(key, range_end, revision=self.revision())
        bounds = [self.revision() if self.maybe(0.3) else 0 for _ in range(4)]
        return Range(
            key,
            range_end,
            rng.choice((0, 0, 1, 2, 3, 5, -1, 100)),
            self.revision(),
            rng.choice(SORT_ORDERS),
            rng.choice(sorted(SORT_TARGETS)),
            self.maybe(0.2),
            self.maybe(0.2),
            self.maybe(0.1),
            *bounds,
        )

    def delete(self) -> DeleteRange:
        key, range_end = self.interval()
        return DeleteRange(key, range_end if self.maybe(0.6) else b"", self.maybe(0.4))

    def compact(self) -> Compact:
        store = self.ours.machine.store
        near = (store.revision, store.compacted, store.revision + 1, store.compacted + 1)
        revision = self.rng.choice([self.rng.randint(1, store.revision), self.rng.choice(near)])
        return Compact(max(revision, 1), self.maybe(0.3))

    def inside(self) -> Inside:
        return Inside(self.rng.choice(("sweep", "reopen", "copy")))

    # Transactions -----------------------------------------------------------------------------

    def txn(self, depth: int = 3, room: int = MAX_OPS) -> Txn:
        rng = self.rng
        if self.maybe(0.02):
            return self.crowded(depth, room)
        fresh = list(KEYS)  # puts of different keys: else nearly all would be refused
        rng.shuffle(fresh)
        compares = tuple(self.compare() for _ in range(rng.choice((0, 0, 1, 1, 2))))
        success, failure = (
            tuple(self.operation(depth, fresh) for _ in range(rng.choice((0, 1, 1, 2, 3, 4))))
            for _ in range(2)
        )
        return Txn(compares, success, failure)

    def operation(self, depth: int, fresh: list[bytes]) -> Any:
        draw = self.rng.random()
        if draw < 0.4:
            return self.put(fresh.pop() if fresh and self.maybe(0.9) else None)
        if draw < 0.7:
            return self.range()
        if draw < 0.8 or depth == 1:
            alone = fresh and self.maybe(0.7)  # a long interval meets some put
            return DeleteRange(fresh.pop(), b"", self.maybe(0.4)) if alone else self.delete()
        if draw < 0.805:
            return None  # an operation with no request
        return self.nested(depth - 1, fresh)

    def nested(self, depth: int, fresh: list[bytes]) -> Txn:
        """Its branches share the keys that are left, so that siblings seldom meet."""
        rng = self.rng
        branches = [
            tuple(self.operation(depth, fresh) for _ in range(rng.choice((0, 1, 1, 2))))
            for _ in range(2)
        ]
        compares = tuple(self.compare() for _ in range(rng.choice((0, 1, 1))))
        return Txn(compares, *branches)

    def crowded(self, depth: int, room: int) -> Txn:
        """As many operations as are allowed, or one more, here or in a nested transaction."""
        rng, many = self.rng, room + self.rng.choice((-1, 0, 1))
        if depth > 1 and room and self.maybe(0.5):
            outer = rng.randint(1, room)
            inner = self.crowded(depth - 1, room - outer)
            return Txn((), (*[Range(b"d", count_only=True)] * (outer - 1), inner))
        sort = rng.randrange(3)
        if sort == 0:
            return Txn((Compare(b"d", "version", "less", 10**6),) * many)
        ops = (rng.choice((Range(b"d", count_only=True), DeleteRange(b"d"))),) * max(many, 0)
        return Txn((), ops) if sort == 1 else Txn((Compare(b"d", operand=-1),), (), ops)

    def compare(self) -> Compare:
        rng = self.rng
        target, result = rng.choice(sorted(TARGETS)), rng.choice(sorted(RESULTS))
        operands = {
            "version": rng.randint(0, 3),
            "create": max(self.revision(), 0),
            "mod": max(self.revision(), 0),
            "value": rng.choice(VALUES),
            "lease": self.lease() if self.maybe(0.7) else 0,
        }
        operand = operands[target]
        if target == "lease" and operand >= ANY_LEASE and result in ("greater", "less"):
            operand = 0  # which of two ids is the larger one is the server's affair
        if self.maybe(0.05):
            operand = rng.choice((None, b"1" if target != "value" else 1))
        key, range_end = self.interval()
        return Compare(key, target, result, operand, range_end if self.maybe(0.4) else b"")

    # Leases -----------------------------------------------------------------------------------

    def grant(self) -> Any:
        rng = self.rng
        draw = rng.random()
        if draw < 0.1:
            return LeaseGrant(rng.choice((MAX_TTL_S + 1, 2**62)), rng.choice(LEASES))
        if draw < 0.2:
            return GrantShort(rng.choice((0, 1, 2, 3, -5, -(2**63))), rng.choice(LEASES))
        self.ttl_s += 100 * rng.randint(1, 9)
        if draw < 0.3:
            self.any_leases += 1
            return GrantAny(self.ttl_s, ANY_LEASE + self.any_leases)
        ttl_s = MAX_TTL_S - self.ttl_s if draw > 0.9 else self.ttl_s
        return LeaseGrant(ttl_s, rng.choice(LEASES))

    def ask_lease(self) -> Any:
        id = 0 if self.maybe(0.05) else self.lease()
        kinds = (LeaseTimeToLive(id, True), LeaseTimeToLive(id), LeaseKeepAlive(id), LeaseLeases())
        return self.rng.choice((*kinds, LeaseRevoke(id), LeaseRevoke(id)))

    # Watches ----------------------------------------------------------------------------------

    def watch(self) -> On:
        rng, store = self.rng, self.ours.machine.store
        key, range_end = self.interval()
        now, compacted = store.revision, store.compacted
        near = (now + 1, now + 3, now, compacted, compacted, compacted + 1, compacted - 1)
        start = rng.choice((0, 0, rng.choice(near), rng.choice(near), rng.randint(1, now)))
        filters = rng.choice(((),) * 5 + (("put",), ("delete",), ("put", "delete")))
        create = WatchCreate(
            key,
            range_end if self.maybe(0.8) else b"",
            # Below 2 lies what etcd held before this program.
            max(start, 2) if start else 0,
            rng.choice((0, 0, 0, 1, 2, 5, 77, -7)),
            self.maybe(0.5),
            filters,
            self.maybe(0.1),
            self.maybe(0.2),
        )
        return On(rng.choice(STREAMS), create)

    def end_watch(self) -> On:
        stream = self.rng.choice(STREAMS)
        if self.maybe(0.3) and stream in self.ours.hub.streams:
            return On(stream, WatchProgress())
        opened = self.ours.hub.streams.get(stream)
        known = sorted(opened.watchers) if opened else []
        if known and self.maybe(0.8):
            return On(stream, WatchCancel(self.rng.choice(known)))
        return On(stream, WatchCancel(self.rng.choice((0, 1, 2, 3, 5, 77, -7, 1000))))


def write(seed: str, size: int = SIZE) -> list[Any]:
    """The program of this seed."""
    return Writer(seed, size, Ours()).write()
