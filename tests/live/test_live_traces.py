"""The story that real members tell, under load and in trouble, read by the simulator's checkers and
drawn by its pictures. A checker that accepts it has to reject the same story with a lie in it.
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import threading
import time
from dataclasses import replace

import pytest

pytest.importorskip("grpc", reason="clients of real members speak gRPC")
pytest.importorskip("lmdb", reason="a member's store is in LMDB")

from kvlearn import check, viz
from kvlearn.errors import RequestError, TimedOut
from kvlearn.events import (
    Applied,
    BecameLeader,
    Crashed,
    Healed,
    LeaseExpired,
    LinksCut,
    Notified,
    Paused,
    Resumed,
    Returned,
    Started,
)
from kvlearn.kv.leases import LeaseResult
from kvlearn.kv.requests import Put, RangeResult
from kvlearn.live import LocalCluster
from kvlearn.live.process import MemberDown
from kvlearn.trace import Trace

QUICK = dict(heartbeat_ms=50, election_ms=500)
CLIENTS, KEYS, PAUSE_S = 3, 4, 0.01
WAIT_S = 30.0


class Load:
    """Clients that put and get, one that watches, and leases; until the block ends."""

    def __init__(self, live: LocalCluster):
        self.live, self.acknowledged = live, 0
        self.newest: dict[
            str, tuple[int, str]
        ] = {}  # key -> (revision, value) of acknowledged puts
        self.errors: list[BaseException] = []
        self.heard: list = []  # by the watcher
        self._over = threading.Event()
        jobs = [self._watch, *(lambda n=n: self._ask(n) for n in range(CLIENTS))]
        self._threads = [threading.Thread(target=self._guarded, args=(job,)) for job in jobs]

    def _guarded(self, job) -> None:
        try:
            job()
        except BaseException as error:
            self.errors.append(error)

    def _ask(self, number: int) -> None:
        rng = random.Random(number)
        with self.live.client(timeout_s=2.0) as client:
            count = 0
            while not self._over.wait(PAUSE_S):
                count += 1
                key, value = f"k{rng.randrange(KEYS)}", f"{number}.{count}"
                try:
                    if rng.random() < 0.6:
                        revision = client.put(key, value).header.revision
                        self.acknowledged += 1
                        self.newest[key] = max(self.newest.get(key, (0, "")), (revision, value))
                    else:
                        client.get(key)
                except RequestError:
                    pass  # the checkers know what may have come of it

    def _watch(self) -> None:
        with self.live.client(timeout_s=2.0) as client:
            watcher = client.watch("k", prefix=True)
            while not self._over.is_set():
                with contextlib.suppress(TimedOut):
                    self.heard.append(watcher.recv(0.1))

    def served(self, count: int = 20) -> None:
        """Until so many more puts are acknowledged."""
        wanted, end = self.acknowledged + count, time.monotonic() + WAIT_S
        while self.acknowledged < wanted:
            assert time.monotonic() < end, f"no {count} puts in {WAIT_S} s: {self.live!r}"
            time.sleep(0.005)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def trouble(live: LocalCluster, load: Load) -> None:
    """A leader is killed, another paused, a third cut off; a lease runs out, one is given back."""
    load.served()
    with live.client(timeout_s=20) as client:
        short, long = client.lease(1), client.lease(60)
        client.put("short", "1", lease=short)
        client.put("long", "1", lease=long)
        first = live.wait_for_leader()
        live.crash(first)
        load.served()
        live.restart(first)
        load.served()
        second = live.wait_for_leader()
        live.pause(second)
        live.wait_until(lambda: live.leader not in (None, second), WAIT_S, "nobody rose")
        load.served()
        live.resume(second)
        third = live.wait_for_leader()
        live.partition([third], [name for name in live.names if name != third])
        live.wait_until(lambda: live.leader not in (None, third), WAIT_S, "nobody rose")
        load.served()
        live.heal()
        live.wait_for_leader()
        load.served()
        live.wait_until(lambda: not client.get("short").kvs, WAIT_S, "a lease that never ends")
        long.revoke()
        assert not client.get("long").kvs


@pytest.fixture(scope="module")
def live():
    with LocalCluster(3, **QUICK) as cluster:
        cluster.wait_for_leader(WAIT_S)
        yield cluster


@pytest.fixture(scope="module")
def load(live):
    """What clients saw, when all trouble is over."""
    with Load(live) as load:
        trouble(live, load)
    assert not load.errors, load.errors
    return load


@pytest.fixture(scope="module")
def trace(live, load) -> Trace:
    """The whole story so far; every member has applied everything."""
    with live.client(timeout_s=20) as client:
        client.put("last", "")

    def level() -> bool:
        rows = live._rows()
        return len({(row["commit"], row["applied"]) for row in rows}) == 1

    live.wait_until(level, WAIT_S, "they never agreed")
    return live.trace


# What checkers say --------------------------------------------------------------------------


def test_everything_that_was_done_is_told(trace):
    for kind in (Crashed, Paused, Resumed, LinksCut, Healed, LeaseExpired, Notified):
        assert any(trace.of(kind)), kind.__name__
    (crashed,) = (record.node for record in trace.of(Crashed))
    started = sorted(record.node for record in trace.of(Started))
    assert started == sorted(["n1", "n2", "n3", crashed])
    assert len({record.event.term for record in trace.of(BecameLeader)}) >= 4
    times = [record.time for record in trace]
    assert times == sorted(times)


def test_the_promises_were_kept(trace):
    for checker in (check.invariants, check.watches, check.leases, check.service, check.answers):
        assert (verdicts := checker(trace)).ok, verdicts


def test_one_order_explains_every_answer(trace):
    check.linearizable(trace).raise_if_broken()


# Lies ---------------------------------------------------------------------------------------


def with_lie(trace: Trace, lie) -> Trace:
    """The same story, but for the first record of which `lie` gives another event."""
    told, lied = Trace(None, trace.about), False
    for record in trace:
        other = None if lied else lie(record)
        lied = lied or other is not None
        told.add(record.time, record.node, other or record.event, record.cause)
    assert lied, "there was nothing to lie about"
    return told


def second_leader(trace: Trace):
    """A node that leads in the term of another."""
    first = next(iter(trace.of(BecameLeader)))

    def lie(record):
        event = record.event
        if isinstance(event, BecameLeader) and record.node != first.node:
            return replace(event, term=first.event.term)

    return lie


def other_value(trace: Trace):
    """A follower that stores something else than the others."""

    def lie(record):
        match record.event:
            case Applied(command=command) as event if command is not None:
                if isinstance(command.request, Put) and command.request.key == b"k1":
                    request = replace(command.request, value=b"a lie")
                    return replace(event, command=replace(command, request=request))

    return lie


def old_value(trace: Trace):
    """A client that reads what nobody wrote."""

    def lie(record):
        match record.event:
            case Returned(result=RangeResult(kvs=(one,))) as event if one.key == b"k1":
                return replace(event, result=replace(event.result, kvs=(replace(one, value=b"?"),)))

    return lie


def silent_watch(trace: Trace):
    """A watcher that is not told of a change."""

    def lie(record):
        match record.event:
            case Notified(response=response) as event if response.events:
                return replace(event, response=replace(response, events=()))

    return lie


def hasty_lease(trace: Trace):
    """A lease of which its holder was told that it has a minute, and that ends after seconds."""
    short = min(record.event.lease for record in trace.of(LeaseExpired))

    def lie(record):
        match record.event:
            case Returned(result=LeaseResult(id=id)) as event if id == short:
                return replace(event, result=replace(event.result, ttl_s=60))

    return lie


@pytest.mark.parametrize(
    ("lie", "checker"),
    [
        (second_leader, check.invariants),
        (other_value, check.invariants),
        (silent_watch, check.watches),
        (hasty_lease, check.leases),
        (old_value, check.linearizable),
        (old_value, check.answers),
    ],
)
def test_a_lie_is_found(trace, lie, checker):
    assert checker(trace).ok
    verdicts = checker(with_lie(trace, lie(trace)))
    assert not verdicts.ok, verdicts


# Pictures -----------------------------------------------------------------------------------

PICTURES = ["ring", "logs", "revisions", "streams", "leases", "members", "trees"]
PICTURES += ["lanes", "picture", "verdicts"]


def moments(trace: Trace) -> dict[str, float]:
    """Just after what was done by hand, and the end."""
    kinds = (Crashed, Paused, Resumed, LinksCut, Healed)
    told = {kind.__name__: next(iter(trace.of(kind))).time + 0.05 for kind in kinds}
    return {**told, "end": trace[-1].time}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_can_be_drawn_of_every_moment(trace, name):
    draw = vars(viz)[name]
    drawn = {what: draw(trace, at=at) for what, at in moments(trace).items()}
    for what, one in drawn.items():
        text = one._repr_mimebundle_()
        assert "<svg" in text["image/svg+xml"], what
    assert len({str(one._repr_mimebundle_()) for one in drawn.values()}) > 1


def test_messages_are_drawn_while_it_happens(trace):
    for what, at in moments(trace).items():
        drawn = viz.spacetime(trace, max(at - 0.2, 0.0), at)
        assert "<svg" in drawn._repr_mimebundle_()["image/svg+xml"] and "n1" in drawn.text, what


def test_pictures_tell_what_was_so(trace):
    (crashed,) = [r for r in trace.of(Crashed)]
    when = moments(trace)
    assert f"\n{crashed.node}: down" in viz.ring(trace, at=when["Crashed"]).text
    paused = next(iter(trace.of(Paused))).node
    assert re.search(rf"\n{paused}: .*paused", viz.ring(trace, at=when["Paused"]).text)
    leader = [r for r in trace.of(BecameLeader)][-1].node
    assert f"{leader} leads" in viz.ring(trace).text


# All at once --------------------------------------------------------------------------------


def test_all_members_are_killed_at_once_and_all_data_is_there_again(live, load, trace):
    with live.client(timeout_s=20) as client:
        before = client.get("k", prefix=True)
        for name in live.names:
            live.crash(name)
        live.start()
        live.wait_for_leader(WAIT_S)
        for name in live.names:
            with live.client(name, timeout_s=20) as there:
                assert there.get("k", prefix=True).kvs == before.kvs, name
        for key, (revision, value) in load.newest.items():
            (found,) = (kv for kv in before.kvs if kv.key == key.encode())
            assert found.mod_revision >= revision
            assert found.mod_revision > revision or found.value == value.encode()
        client.put("k0", "again")
    story = live.trace
    assert len([r for r in story.of(Crashed)]) == 4
    assert check.invariants(story).ok, check.invariants(story)
    check.linearizable(story).raise_if_broken()


def test_a_member_whose_folder_was_emptied_is_told_to_come_as_another(live, trace):
    name = next(name for name in live.names if name != live.wait_for_leader(WAIT_S))
    live.crash(name)
    shutil.rmtree(live.data_dir / name)
    with pytest.raises(MemberDown, match=f"{name} has run before, and .* is empty"):
        live.restart(name)
    with live.client(timeout_s=20) as client:
        client.put("k0", "without it")
