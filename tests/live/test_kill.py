"""kill -9 of a member chosen at random, again and again, under load: nothing acknowledged is lost.

Sixteen clients put and get; each operation is written down with its times and what was answered.
An operation without an answer may have happened or not. At the end the history must be
linearizable, and every acknowledged put must be found.

`KVLEARN_KILLS=50 pytest -s tests/live/test_kill.py` plays fifty rounds and prints how long it took
until it served again.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from dataclasses import replace

import pytest

pytest.importorskip("grpc", reason="clients of real members speak gRPC")

from kvlearn import check
from kvlearn.check.histories import Operation, Read, Write
from kvlearn.errors import TimedOut, Unavailable
from kvlearn.kv.requests import Answer, Put, Range
from kvlearn.live.local_cluster import LocalCluster

ROUNDS = int(os.environ.get("KVLEARN_KILLS", "5"))
WRITERS, KEYS = 16, 24
ELECTION_MS = 1000  # etcd's default


class Load:
    """Clients that ask until they are told to stop, and what they were told."""

    def __init__(self, cluster, rng: random.Random):
        self.cluster, self.history, self.errors = cluster, [], []
        self.stop = threading.Event()
        self.acknowledged = 0  # puts
        self.threads = [
            threading.Thread(target=self._write, args=(k, random.Random(rng.random())))
            for k in range(WRITERS)
        ]

    def _write(self, number: int, rng: random.Random) -> None:
        client = self.cluster.client(timeout_s=2.0)
        count = 0
        while not self.stop.is_set():
            count += 1
            key = b"k%d" % rng.randrange(KEYS)
            put = rng.random() < 0.6
            request = Put(key, b"%d.%d" % (number, count)) if put else Range(key)
            self._ask(f"c{number}", client, request)
        client.close()

    def _ask(self, name: str, client, request) -> None:
        start = time.monotonic()
        try:
            reply = client.call(request)
        except TimedOut:
            if isinstance(request, Put):  # it may have happened, at any time from now on
                self.history.append(Operation(name, start, None, request))
        except Unavailable:
            time.sleep(0.01)  # nothing was done
        except Exception as error:  # told at the end: a thread has nobody to raise to
            self.errors.append(f"{name}: {request}: {error!r}")
        else:
            answer = Answer(0, reply.header, reply.result)
            self.history.append(Operation(name, start, time.monotonic(), request, answer))
            self.acknowledged += isinstance(request, Put)

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def served_again(load: Load, after: int, timeout_s: float = 30.0) -> float:
    """Seconds until another put is acknowledged."""
    start = time.monotonic()
    while load.acknowledged <= after:
        if time.monotonic() - start > timeout_s:
            raise AssertionError(f"no put was acknowledged for {timeout_s} s")
        time.sleep(0.002)
    return time.monotonic() - start


def test_kill_9_of_any_member_under_load_loses_nothing_that_was_acknowledged():
    seed = int(os.environ.get("KVLEARN_SEED", "1"))
    rng = random.Random(seed)
    spent = []
    with LocalCluster(3, trace=False, election_ms=ELECTION_MS) as cluster:
        cluster.wait_for_leader()
        with Load(cluster, rng) as load:
            served_again(load, 50)
            for _ in range(ROUNDS):
                victim = rng.choice(["n1", "n2", "n3"])
                cluster.crash(victim)
                before = load.acknowledged
                spent.append(served_again(load, before))
                served_again(load, before + rng.randrange(40, 120))
                cluster.restart(victim)
                served_again(load, load.acknowledged + 20)
        final = {kv.key: kv for kv in cluster.client().get("k", prefix=True).kvs}
    print(
        f"\n{ROUNDS} kills, seed {seed}: {len(load.history)} operations, {load.acknowledged} puts "
        f"acknowledged; served again after {statistics.median(spent) * 1000:.0f} ms "
        f"(median), {max(spent) * 1000:.0f} ms (worst)"
    )
    assert not load.errors, load.errors[:5]
    _nothing_is_lost(load.history, final)
    if len(load.history) < 20_000:
        check.linearizable(load.history).raise_if_broken()  # with the revisions in all answers
    for key in sorted({operation.input.key for operation in load.history}):
        # Each key by itself: linearizability is a local property (Herlihy, Wing 1990, theorem 1).
        verdict = check.linearizable([plain(o) for o in load.history if o.input.key == key])
        assert verdict.ok, (key, verdict)


def plain(operation: Operation) -> Operation:
    """The same about a register: revisions count the writes of all keys."""
    asked, told = operation.input, operation.output
    if isinstance(asked, Put):
        return replace(operation, input=Write(asked.value), output=None)
    return replace(operation, input=Read(), output=told.result.value)


def _nothing_is_lost(history: list[Operation], final: dict) -> None:
    """The newest acknowledged put of each key is there, or one that is newer."""
    for operation in history:
        if isinstance(operation.input, Put) and operation.known:
            revision = operation.output.header.revision
            kept = final.get(operation.input.key)
            assert kept is not None and kept.mod_revision >= revision, operation
            if kept.mod_revision == revision:
                assert kept.value == operation.input.value, operation
