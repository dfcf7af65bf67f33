"""A run as a short text that one can send to a friend.

>>> from kvlearn.sim import Cluster
>>> cluster = Cluster(3, seed=7)
>>> _ = cluster.wait_for_leader()
>>> cluster.crash(cluster.leader)
>>> code = cluster.code()
>>> code.startswith("kv1-"), len(code) < 40, Cluster.from_code(code).nodes["n3"].role
(True, True, 'down')

A code holds what a journal holds. It is short because whoever reads it lives the run while reading:
so "after the 17th thing that happens" says to the last bit when a verb was done, "the newest packet
but two" says which packet, and an arithmetic coder (`squeeze.py`) makes few bits of both.

    kv1-  base64url( CRC-32 of all that follows, 4 bytes;
                     digest of the trace that it leads to, 6 bytes;  header, verbs, end )

A verb's time is told in the first way that gives it back to the last bit: after so many things; at
a whole microsecond; so many microseconds after a thing; or as it is, in 7 bytes. The first three
mean when the hand began.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import fields
from math import inf, nextafter
from typing import TYPE_CHECKING, Any
from zlib import crc32

from kvlearn.kv.config import StoreConfig
from kvlearn.lease import Lessor
from kvlearn.mvcc.watch import WatchHub
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.sim.journal import MOST_THINGS, Journal, class_of, digest, name_of
from kvlearn.sim.network import Links
from kvlearn.sim.squeeze import Reader, Writer, symbol
from kvlearn.sim.told import Told, steps_to, time_after
from kvlearn.sim.verbs import HAND_S, after_hand

if TYPE_CHECKING:
    from kvlearn.sim.cluster import Cluster

VERSION = 1
PREFIX = f"kv{VERSION}-"
CHECK_BYTES, DIGEST_BYTES = 4, 6
LONGEST_CODE = 8000  # characters; what is longer is better sent as a file
MOST_ULPS = 4  # by which sums of times may differ in their last bit
NEAR_S = 1e-9  # far less than a microsecond, far more than rounding

THINGS, MICROS, AFTER, AS_IS = range(4)  # how a time is told
VERBS: dict[str, str] = {  # verb -> the roles of its arguments; new ones go to the end
    **dict.fromkeys(("crash", "restart", "pause", "resume", "isolate", "campaign"), "node"),
    **dict.fromkeys(("drop", "deliver", "duplicate"), "packet"),
    **{"delay": "packet seconds", "partition": "groups", "heal": "", "ask": "client node request"},
    **{"give_up": "op", "cut": "node node one_way", "links": "setting quality", "wipe": "node"},
    **{"compact": "node kept", "forget_leader": "node", "set_rate": "node rate"},
    **{"set_fsync": "node fsync_s", "add_node": "node learner"},
    **{"open_stream": "stream client nodes node request", "ask_stream": "stream request"},
    **{"close_stream": "stream", "hold_stream": "stream held", "unkeep": "client lease"},
    **{"keep": "client lease nodes node every_s"},
    **dict.fromkeys(("pause_client", "resume_client", "end_client"), "client"),
}
NAMES = (*VERBS, "")  # the last one: nothing more was done
VERB_BITS = 6


def code_of(cluster: Cluster) -> str:
    """The code of a run; it was read, and led to the same, before it is handed out.

    Raises: ValueError for a run that cannot be told so.
    """
    journal = Journal.of(cluster)
    for verb in journal.done:
        if verb[2] not in VERBS:
            raise ValueError(f"a code cannot tell of {verb[2]!r}; cluster.save(path) can")
    coder = Writer()
    _Teller(coder, type(cluster), journal).tell()
    body = bytes.fromhex(digest(cluster.trace))[:DIGEST_BYTES] + coder.finish()
    code = PREFIX + _text(crc32(body).to_bytes(CHECK_BYTES, "big") + body)
    if len(code) > LONGEST_CODE:
        raise ValueError(
            f"a code of this run has {len(code):,} characters, and {LONGEST_CODE:,} are the most; "
            f"cluster.save(path) keeps it in a file"
        )
    if Journal.of(read(type(cluster), code)) != journal:
        raise ValueError("a code does not lead back to this run; cluster.save(path) can keep it")
    return code


def read(cls: type[Cluster], code: str) -> Cluster:
    """A new cluster that has lived the run of a code.

    Raises: ValueError that says what is wrong with the code.
    """
    body = _checked(code)
    try:
        cluster = _Teller(Reader(body[DIGEST_BYTES:]), cls, None).tell()
    except Exception as error:
        raise ValueError(f"the run of this code cannot be lived here: {error}; {OTHER}") from error
    if bytes.fromhex(digest(cluster.trace))[:DIGEST_BYTES] != body[:DIGEST_BYTES]:
        raise ValueError(f"the run of this code comes out another here; {OTHER}")
    return cluster


OTHER = "open it with the version of kvlearn that made it"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _checked(code: str) -> bytes:
    """What a code holds behind its check. Raises: ValueError."""
    code = "".join(code.split()) if isinstance(code, str) else ""
    head, dash, told = code.partition("-")
    if not dash or not head.startswith("kv") or not head[2:].isdecimal():
        raise ValueError(
            f"that is no code of a run: one begins with {PREFIX} (cluster.code() makes it)"
        )
    if head + dash != PREFIX:
        raise ValueError(
            f"this code has form {head!r}, and this version of kvlearn reads {PREFIX[:-1]!r}: "
            f"either it was mistyped, or {OTHER}"
        )
    try:
        data = base64.urlsafe_b64decode(told + "=" * (-len(told) % 4))
    except ValueError:
        data = b""
    body = data[CHECK_BYTES:]
    right = crc32(body).to_bytes(CHECK_BYTES, "big") == data[:CHECK_BYTES]
    if not right or len(body) < DIGEST_BYTES or _text(data) != told:
        raise ValueError(
            f"this code is mistyped or cut off (it has {len(code)} characters): copy it again, "
            "from its first character to its last"
        )
    return body


class _Teller:
    """Goes through a run once: with a journal it tells it to a writer, without one it gets it from
    a reader. Either way `cluster` lives it meanwhile."""

    def __init__(self, coder: Writer | Reader, cls: type[Cluster], journal: Journal | None):
        self.told, self.coder, self.journal = Told(coder), coder, journal
        self.clients, self.opened = 0, ()
        self.cluster = cls(*self._made())
        self.clock = self.cluster._clock

    def tell(self) -> Cluster:
        """All verbs, and the end."""
        cluster, clock, journal = self.cluster, self.clock, self.journal
        told = iter((*journal.done, (journal.happened, journal.now, "", ()))) if journal else None
        while True:
            happened, now, verb, arguments = next(told) if told else (0, 0.0, None, None)
            verb = NAMES[symbol(self.coder, "verb", VERB_BITS, told and NAMES.index(verb))]
            clock.now = self._time(bool(verb), happened, now)
            if not verb:
                cluster._desk.clients, cluster._clients.opened = self.clients, dict(self.opened)
                return cluster
            arguments = self._arguments(VERBS[verb].split(), arguments)
            cluster._do_again((clock.happened, clock.now, verb, arguments))

    # What it was made with --------------------------------------------------------------------

    def _made(self) -> tuple:
        journal = self.journal
        size, seed = self._usual("size", 3), self._usual("seed", 0)
        config = self._config()
        rafts = self._usual("raft", "Raft", journal and _named(journal.raft))
        if isinstance(rafts, tuple):
            raft: Any = {name: class_of(cls, Raft) for name, cls in rafts}
        else:
            raft = class_of(rafts, Raft)
        links = Links(*self._usual("links", ((0.002, 0.006), 0.0, 0.0, 0.0)))
        fsync_s = self._usual("fsync_s", (0.0005, 0.002))
        invariants = self._usual("invariants", True)
        store = self._store()
        self.clients, self.opened = self._usual("clients", 0), self._usual("opened", ())
        return size, seed, config, raft, links, fsync_s, invariants, store

    def _usual(self, name: str, usual: Any, given: Any = None) -> Any:
        """A setting that most runs leave as it is."""
        if self.journal:
            given = getattr(self.journal, name) if given is None else given
        same = int(repr(given) == repr(usual)) if self.journal else None
        return usual if self.coder.bit((name, "usual"), same) else self.told.thing(name, given)

    def _config(self) -> RaftConfig:
        presets = RaftConfig.etcd(), RaftConfig.paper()
        given = None
        if self.journal:
            changes = [_changes(preset, self.journal.config) for preset in presets]
            best = min((0, 1), key=lambda k: len(changes[k]))
            given = (best, changes[best])
        preset, changed = self._usual("config", (0, ()), given)
        now = {f.name: getattr(presets[preset], f.name) for f in fields(RaftConfig)}
        return RaftConfig(**now | dict(changed))

    def _store(self) -> StoreConfig:
        given = None
        if self.journal:
            store = self.journal.store
            parts = name_of(store.hub, WatchHub), name_of(store.lessor, Lessor)
            given = (*parts, _changes(StoreConfig(), store, ("hub", "lessor")))
        hub, lessor, changed = self._usual("store", ("WatchHub", "Lessor", ()), given)
        parts = {"hub": class_of(hub, WatchHub), "lessor": class_of(lessor, Lessor)}
        return StoreConfig(**parts | dict(changed))

    # Verbs ------------------------------------------------------------------------------------

    def _arguments(self, roles: list[str], given: tuple | None) -> tuple:
        """Packets and operations are counted from the newest one."""
        newest = {"packet": self.cluster._network.newest}
        newest["op"] = len(self.cluster._desk.operations)
        told = []
        for place, role in enumerate(roles):
            one = given[place] if given is not None else None
            if role in newest:
                behind = newest[role] - one if given is not None else None
                told.append(newest[role] - self.told.number(role, behind))
            else:
                told.append(self.told.thing(role, one))
        return tuple(told)

    # Times ------------------------------------------------------------------------------------

    def _time(self, by_hand: bool, happened: int, now: float) -> float:
        """Live until the next verb, or the end; when that is, in virtual seconds."""
        before = self.clock.now
        way = self._way(by_hand, happened, now) if self.journal else None
        way = self._tell_way(by_hand, before, way)
        return now if self.journal else self._go(by_hand, *way)

    def _tell_way(self, by_hand: bool, before: float, way: tuple | None) -> tuple:
        number, writes, base = self.told.number, way is not None, int(before * 1e6)
        how, one, two, three = way or (None,) * 4
        how = symbol(self.coder, ("how", by_hand), 2, how)
        if how == MICROS:
            return how, base + number("micros", one - base if writes else None), 0, 0
        one = number(("things", how), one)
        if how == AFTER:
            two = number("span", two)
            three = number("ulps", three + MOST_ULPS if writes else None) - MOST_ULPS
        if how == AS_IS:
            steps = number("steps", steps_to(two) - steps_to(before) if writes else None)
            two = time_after(steps_to(before) + steps)
        return how, one, two, three

    def _go(self, by_hand: bool, how: int, one: int, two: Any, three: Any) -> float:
        """Live as a time was told; what time it is then."""
        clock, since = self.clock, self.clock.happened
        if how == AS_IS:
            self._live(lambda: clock.queue[0][0] < two)
            since = clock.happened
        if how != MICROS:
            self._live(lambda: clock.happened < since + one)
        if how == AS_IS:
            return two
        begun = clock.now if how == THINGS else one / 1e6
        if how == AFTER:
            begun = _later(clock.now, two, three)
        if how != THINGS:
            self._live(lambda: clock.queue[0][0] <= begun)
        clock.now = begun
        return after_hand(clock) if by_hand else begun

    def _live(self, more: Callable[[], bool]) -> None:
        cluster, clock = self.cluster, self.clock
        while clock.queue and more():
            cluster._replay(cluster._happen)
            if clock.happened > MOST_THINGS:
                raise ValueError(
                    f"more than {MOST_THINGS:,} things happen in it; cluster.save(path) can keep it"
                )

    def _way(self, by_hand: bool, happened: int, now: float) -> tuple:
        """Live until so many things have happened; how to tell that it is `now` then."""
        clock, times = self.clock, [self.clock.now]
        while clock.happened < happened and clock.queue:
            here = clock.happened
            self._live(lambda: clock.happened == here)
            times.append(clock.now)
        following = clock.queue[0][0] if clock.queue else inf

        def gives(begun: float) -> bool:
            hand = min(HAND_S, (following - begun) / 2) if by_hand else 0.0
            return times[-1] <= begun < following and begun + hand == now

        if gives(times[-1]) or now == (after_hand(clock) if by_hand else clock.now):
            return THINGS, len(times) - 1, 0, 0
        begun = now - min(HAND_S, following - now) if by_hand else now
        whole = round(begun * 1e6)
        if gives(whole / 1e6) and whole >= int(times[0] * 1e6):
            return MICROS, whole, 0, 0
        for place, time in enumerate(times):
            span = round((begun - time) * 1e6)
            if span >= 0 and abs(_later(time, span, 0) - begun) < NEAR_S:
                for ulps in sorted(range(-MOST_ULPS, MOST_ULPS + 1), key=abs):
                    if gives(_later(time, span, ulps)):
                        return AFTER, place, span, ulps
        return AS_IS, sum(time >= now for time in times[1:]), now, 0


def _later(time: float, micros: int, ulps: int) -> float:
    """So many microseconds later, give or take so many steps of the last bit."""
    later = time + micros / 1e6
    for _ in range(abs(ulps)):
        later = nextafter(later, inf if ulps > 0 else -inf)
    return later


def _named(raft: Any) -> Any:
    """A Raft, or the Raft of each node, by name."""
    if isinstance(raft, tuple):
        return tuple((name, name_of(cls, Raft)) for name, cls in raft)
    return name_of(raft, Raft)


def _changes(usual: Any, given: Any, but: tuple[str, ...] = ()) -> tuple[tuple[str, Any], ...]:
    """The fields in which a config differs from another."""
    return tuple(
        (field.name, getattr(given, field.name))
        for field in fields(given)
        if field.name not in but
        and repr(getattr(given, field.name)) != repr(getattr(usual, field.name))
    )
