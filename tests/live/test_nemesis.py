"""Real members under load, and everything that can befall them: kill -9, pauses, cut links, slow
disks, members that come and go. Nothing acknowledged is lost, no read is stale, no watch has a gap,
no lease ends before its time.

What is checked, against the history that every member tells at the end (a watch from revision 1):

* all members tell the same history, and each value is in it once at most: nothing was done twice.
* an acknowledged write is at the revision of its answer; a read tells what was there at the
  revision of its answer; and who asked after another had been answered is not told of an older
  revision. Together that is an order that explains everything: linearizability.
* the same once more with the general checker, key by key.
* every watcher, resumed at other members again and again, has heard all of it, once and in order.
* a lease's key is deleted, and not before its time is over since its holder last *asked* for it.

`KVLEARN_NEMESIS_S=120 KVLEARN_SEED=7 pytest -s tests/live/test_nemesis.py` plays longer.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import Counter
from functools import partial

import pytest

pytest.importorskip("grpc", reason="clients of real members speak gRPC")

from kvlearn import check
from kvlearn.check.histories import Cas, Operation, Read, Write
from kvlearn.errors import LeaseNotFound, RequestError, TimedOut, Unavailable
from kvlearn.kv.leases import LeaseGrant, LeaseKeepAlive
from kvlearn.kv.requests import Put, Range
from kvlearn.kv.txn import Compare, Txn
from kvlearn.live import local_cluster
from kvlearn.live.process import MemberDown, Process
from tests.live.slow_disk import orders_of

SECONDS = float(os.environ.get("KVLEARN_NEMESIS_S", "12"))
SEED = int(os.environ.get("KVLEARN_SEED", "1"))
CLIENTS, HOLDERS, WATCHERS, KEYS = 8, 3, 3, 12
TTL_S = 2
PATIENCE_S = 60.0  # a bound for what must happen in the end, on the busiest machine
COMMAND = (sys.executable, "-m", "tests.live.slow_disk")
UNKNOWN = object()


class Story:
    """What clients asked and were told: (client, call_s, return_s, request, reply or UNKNOWN)."""

    def __init__(self, cluster):
        self.cluster, self.rows, self.errors = cluster, [], []
        self.over = threading.Event()
        self.acknowledged = 0
        self.lives: dict[bytes, tuple[float, int]] = {}  # leased key -> (last asked for, ttl)
        self.told: list[list] = []  # what each watcher heard

    def ask(self, name: str, client, request, writes: bool):
        """The reply; None: it was refused, or nobody knows."""
        call_s = time.monotonic()
        try:
            reply = client.call(request)
        except TimedOut:
            if writes:
                self.rows.append((name, call_s, None, request, UNKNOWN))
        except Unavailable:
            time.sleep(0.02)  # nothing was done
        else:
            self.rows.append((name, call_s, time.monotonic(), request, reply))
            self.acknowledged += writes
            return reply
        return None

    def play(self, name: str, body, *more) -> threading.Thread:
        """Let a client play until all is over."""

        def run() -> None:
            try:
                body(name, *more)
            except Exception as error:
                self.errors.append(f"{name}: {error!r}")

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def client(self, rng: random.Random, timeout_s: float = 1.5):
        """Of all members, or of one: who holds on to one sees what a stale leader would say."""
        alone = rng.choice(["n1", "n2", "n3"]) if rng.random() < 0.5 else None
        return self.cluster.client(alone, timeout_s=timeout_s)

    def write(self, name: str, rng: random.Random) -> None:
        """Puts, gets, and swaps of what was read last."""
        client, count, seen = self.client(rng), 0, {}
        while not self.over.is_set():
            count += 1
            key, value, kind = b"k%02d" % rng.randrange(KEYS), b"%s.%d", rng.random()
            value = value % (name.encode(), count)
            if kind < 0.4:
                self.ask(name, client, Put(key, value), True)
            elif kind < 0.8 or seen.get(key) is None:
                reply = self.ask(name, client, Range(key), False)
                seen[key] = reply.value if reply else None
            else:
                same = (Compare(key, "value", "equal", seen[key]),)
                self.ask(name, client, Txn(same, (Put(key, value),), (Range(key),)), True)
            if rng.random() < 0.02:
                client.close()
                client = self.client(rng)
            time.sleep(0.004)
        client.close()

    def hold(self, name: str, rng: random.Random) -> None:
        """Leases that are kept alive for a while, and then are not."""
        client, count = self.cluster.client(timeout_s=3.0), 0
        while not self.over.is_set():
            count += 1
            key, asked_s = b"lease/%s/%d" % (name.encode(), count), time.monotonic()
            try:
                lease = client.call(LeaseGrant(TTL_S)).result
            except (TimedOut, Unavailable):
                continue
            try:
                if self.ask(name, client, Put(key, key, lease.id), True):
                    self.lives[key] = asked_s, lease.ttl_s
                    self._keep(client, key, lease, rng)
            except LeaseNotFound:
                late_s = time.monotonic() - self.lives.get(key, (asked_s, 0))[0]
                if late_s < lease.ttl_s:
                    self.errors.append(f"{key} was gone after {late_s} s of {lease.ttl_s}")
        client.close()

    def _keep(self, client, key: bytes, lease, rng: random.Random) -> None:
        for _ in range(rng.randrange(8)):
            self.over.wait(rng.uniform(0.1, 0.6))
            asked_s = time.monotonic()
            try:
                kept = client.call(LeaseKeepAlive(lease.id)).result
            except (TimedOut, Unavailable):
                continue
            if kept.ttl_s > 0:
                self.lives[key] = asked_s, kept.ttl_s
            elif time.monotonic() - self.lives[key][0] < lease.ttl_s:
                self.errors.append(f"{key}: its lease has ended before its time")

    def watch(self, name: str, told: list) -> None:
        """Hear of everything, wherever the watch goes on."""
        client = self.cluster.client(timeout_s=PATIENCE_S)
        watcher = client.watch(b"", from_key=True, start_revision=1)
        while not (self.over.is_set() and told and told[-1][1].kv.mod_revision >= self.last):
            for event in watcher.events():
                told.append((time.monotonic(), event))
            watcher.wait(0.1)
        client.close()

    last = 1 << 62  # the newest revision, when it is known


class Nemesis:
    """What befalls the members. Invariant: `members` are those that take part; at most one of them
    is down, paused or leaving when a fault begins."""

    def __init__(self, cluster, story: Story, rng: random.Random):
        self.cluster, self.story, self.rng = cluster, story, rng
        self.members = list(cluster.names)
        self.played: Counter = Counter()
        self.waited_s: list[float] = []

    def play(self, seconds: float) -> None:
        """One fault after the other; behind each, writes have to be served again."""
        faults = [self.kill, self.kill, self.pause, self.isolate, self.split, self.slow, self.two]
        faults += [self.grow, self.shrink, self.tidy]
        end = time.monotonic() + seconds
        turn: list = []
        while time.monotonic() < end:
            if not turn:
                turn = self.rng.sample(faults, len(faults))
            fault = turn.pop()
            if fault():
                self.played[fault.__name__] += 1
                self.serves_again()

    def serves_again(self) -> None:
        """Wait for writes that were asked from now on."""
        start, wanted = time.monotonic(), self.story.acknowledged + CLIENTS + 1
        while self.story.acknowledged < wanted:
            if time.monotonic() - start > PATIENCE_S:
                told = [(n, self.cluster.last_words(n)) for n in self.members]
                rows = self.cluster._rows()
                raise AssertionError(
                    f"no write for {PATIENCE_S} s after {self.played}: {rows}{told}"
                )
            time.sleep(0.005)
        self.waited_s.append(time.monotonic() - start)

    def victim(self) -> str:
        """The leader, half of the time."""
        leader = self.cluster.leader
        return leader if leader and self.rng.random() < 0.5 else self.rng.choice(self.members)

    def linger(self, most_s: float = 1.6) -> None:
        time.sleep(self.rng.uniform(0.05, most_s))

    def kill(self) -> bool:
        victim = self.victim()
        self.cluster.crash(victim)
        self.linger()
        self.cluster.restart(victim)
        return True

    def pause(self) -> bool:
        victim = self.victim()
        self.cluster.pause(victim)
        self.linger(2.5)
        self.cluster.resume(victim)
        return True

    def isolate(self) -> bool:
        self.cluster.isolate(self.victim())
        self.linger(2.5)
        self.cluster.heal()
        return True

    def split(self) -> bool:
        """One link only, or two groups."""
        mixed = self.rng.sample(self.members, len(self.members))
        if self.rng.random() < 0.5:
            self.cluster.cut(*mixed[:2])
        else:
            self.cluster.partition(mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :])
        self.linger(2.5)
        self.cluster.heal()
        return True

    def slow(self) -> bool:
        """A disk that takes its time, once so long that its member had better not lead."""
        orders = orders_of(self.cluster.data_dir / self.victim())
        orders.write_text(self.rng.choice(["0.05", "0.3", "0.3", "1.2"]))
        self.linger(3.0)
        orders.unlink()
        return True

    def two(self) -> bool:
        """A kill during a pause: perhaps no majority is left, until both are back."""
        one, other = self.rng.sample(self.members, 2)
        self.cluster.pause(one)
        self.cluster.crash(other)
        self.linger()
        self.cluster.resume(one)
        self.cluster.restart(other)
        return True

    def grow(self) -> bool:
        """One more, as a voter or as a learner that is promoted as soon as it may be."""
        if len(self.members) > 3 or len(self.cluster.names) >= local_cluster.MOST_NODES:
            return False
        learner = self.rng.random() < 0.5
        try:
            self.members.append(self.cluster.add_node(learner))
        except RequestError:
            return False  # not now: somebody has not caught up yet
        if learner:
            self._promote(self.members[-1])
        return True

    def _promote(self, name: str) -> None:
        with self.cluster.client(timeout_s=5.0) as client:
            end = time.monotonic() + PATIENCE_S
            while time.monotonic() < end:
                try:
                    client.promote_member(name)
                    return
                except RequestError as error:
                    if "not a learner" in str(error):
                        return  # it was, and the answer was lost
                    time.sleep(0.05)
        raise AssertionError(f"{name} was never promoted")

    def shrink(self) -> bool:
        """Any member goes, perhaps the leader; it stops by itself, or is stopped."""
        if len(self.members) < 4:
            return False
        victim = self.victim()
        with self.cluster.client(timeout_s=5.0) as client:
            try:
                client.remove_member(victim)
            except TimedOut:
                pass
            except RequestError:
                return False
            listed = [one.name for one in client.members().members]
        if victim in listed:
            return False
        self.members.remove(victim)
        if self.rng.random() < 0.5:
            wait = self.cluster.wait_until
            wait(lambda: not self.cluster.is_alive(victim), PATIENCE_S, f"{victim} goes on")
        elif self.cluster.is_alive(victim):
            self.cluster.crash(victim)
        return True

    def tidy(self) -> bool:
        """A member ends in order, and comes back."""
        victim = self.victim()
        self.cluster.stop(victim)
        self.cluster.restart(victim)
        return True


def test_whatever_befalls_the_members_nothing_is_lost_stale_or_too_early(monkeypatch):
    monkeypatch.setattr(local_cluster, "Process", partial(Process, command=COMMAND))
    rng = random.Random(SEED)
    more = dict(snapshot_count=300, data_dir=os.environ.get("KVLEARN_NEMESIS_DIR"))
    with local_cluster.LocalCluster(3, trace=False, **more) as cluster:
        cluster.wait_for_leader(PATIENCE_S)
        story = Story(cluster)
        watchers = [[] for _ in range(WATCHERS)]
        heard = [story.play(f"w{k}", story.watch, told) for k, told in enumerate(watchers)]
        asked = [
            story.play(f"c{k}", story.write, random.Random(rng.random())) for k in range(CLIENTS)
        ]
        asked += [
            story.play(f"h{k}", story.hold, random.Random(rng.random())) for k in range(HOLDERS)
        ]
        nemesis = Nemesis(cluster, story, rng)
        print(f"\nKVLEARN_NEMESIS_S={SECONDS:g} KVLEARN_SEED={SEED}")
        try:
            nemesis.serves_again()
            nemesis.play(SECONDS)
        finally:
            story.over.set()
            for thread in asked:
                thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in asked), "a client hangs"
        leases_end(cluster)
        truth = same_history(cluster, nemesis.members)
        story.last = truth[-1].kv.mod_revision
        for thread in heard:
            thread.join(PATIENCE_S)
        used = {name: used_by(cluster.pid(name)) for name in nemesis.members}
    print(
        f"{len(story.rows)} operations, {story.acknowledged} writes acknowledged, {len(truth)} "
        f"changes, {len(story.lives)} leases; {dict(nemesis.played)}; served again after "
        f"{max(nemesis.waited_s):.2f} s at most; (MB, files, threads): {used}"
    )
    assert not story.errors, story.errors[:5]
    explained(story.rows, truth)
    for told in watchers:
        assert [event for _, event in told] == truth, gap(told, truth)
    in_time(story.lives, watchers[0])
    for key in sorted({asked_key(row) for row in story.rows}):
        if not key.startswith(b"lease/"):
            history = [plain(row) for row in story.rows if asked_key(row) == key]
            verdict = check.linearizable(history)
            assert verdict.ok, (key, verdict)


# What is checked --------------------------------------------------------------------------------


def leases_end(cluster) -> None:
    """Leases that nobody holds on to any more end."""
    with cluster.client(timeout_s=PATIENCE_S) as client:
        cluster.wait_until(lambda: not client.leases().ids, PATIENCE_S, "leases go on")


def same_history(cluster, members: list[str]) -> list:
    """All changes since revision 1, which all members tell alike."""
    histories = []
    with cluster.client(timeout_s=PATIENCE_S) as client:
        last = client.get(b"k").header.revision
    for name in members:
        with cluster.client(name, timeout_s=PATIENCE_S) as client:
            watcher, events = client.watch(b"", from_key=True, start_revision=1), []
            while not events or events[-1].kv.mod_revision < last:
                try:
                    events.append(watcher.recv(PATIENCE_S))
                except TimedOut:
                    behind = f"{name} tells {len(events)} events and not revision {last}"
                    raise AssertionError(f"{behind}: {cluster._rows()}") from None
            histories.append(events)
    assert all(told == histories[0] for told in histories), "members do not agree"
    return histories[0]


def explained(rows: list, truth: list) -> None:
    """The revisions of the answers are an order that explains all of them."""
    values = Counter(event.kv.value for event in truth if event.type == "put")
    assert max(values.values()) == 1, f"done twice: {values.most_common(3)}"
    puts = {event.kv.mod_revision: event.kv for event in truth if event.type == "put"}
    states: dict[bytes, list] = {}  # key -> [(revision, value)]
    for event in truth:
        value = event.kv.value if event.type == "put" else None
        states.setdefault(event.kv.key, []).append((event.kv.mod_revision, value))
    asked = {value for row in rows for value in written(row)}
    assert values.keys() <= asked, f"nobody wrote {list(values.keys() - asked)[:3]}"
    for row in rows:
        _, _, return_s, request, reply = row
        if return_s is None:
            continue
        revision = reply.header.revision
        if isinstance(request, Range) or isinstance(request, Txn) and not reply.succeeded:
            told = reply.value if isinstance(request, Range) else reply.responses[0].value
            then = [v for r, v in states.get(asked_key(row), ()) if r <= revision]
            assert told == (then[-1] if then else None), f"a wrong read: {row}"
        else:
            kv = puts.get(revision)
            assert kv and [kv.value] == written(row) and kv.key == asked_key(row), f"lost: {row}"
    times = [(row[1], 1, row) for row in rows if row[2] is not None]
    times += [(row[2], 0, row) for row in rows if row[2] is not None]
    newest = 0
    floor: dict[int, int] = {}
    for _, calls, row in sorted(times, key=lambda one: one[:2]):
        if calls:
            floor[id(row)] = newest
        else:
            newest = max(newest, row[4].header.revision)
    for row in rows:
        if row[2] is not None:
            stale = row[4].header.revision < floor[id(row)]
            assert not stale, f"older than {floor[id(row)]}, known before: {row}"


def in_time(lives: dict, told: list) -> None:
    """No lease's key goes before its time."""
    gone = {event.kv.key: at_s for at_s, event in told if event.type == "delete"}
    for key, (asked_s, ttl_s) in lives.items():
        assert key in gone, f"{key} outlives its lease"
        assert gone[key] - asked_s >= ttl_s, f"{key} goes after {gone[key] - asked_s} s of {ttl_s}"


def gap(told: list, truth: list) -> str:
    """Where a watcher and the truth part."""
    mine = [event for _, event in told]
    for k, (one, other) in enumerate(zip(mine, truth)):
        if one != other:
            return f"event {k} is {one!r}, not {other!r}"
    return f"{len(mine)} events of {len(truth)}"


def asked_key(row: tuple) -> bytes:
    request = row[3]
    return request.compare[0].key if isinstance(request, Txn) else request.key


def written(row: tuple) -> list[bytes]:
    request = row[3]
    request = request.success[0] if isinstance(request, Txn) else request
    return [request.value] if isinstance(request, Put) else []


def plain(row: tuple) -> Operation:
    """The same about one register: revisions count the writes of all keys."""
    name, call_s, return_s, request, reply = row
    known = reply is not UNKNOWN
    match request:
        case Put():
            asked, told = Write(request.value), None
        case Txn():
            asked = Cas(request.compare[0].operand, request.success[0].value)
            told = reply.succeeded if known else None
        case _:
            asked, told = Read(), reply.value
    return Operation(name, call_s, return_s, asked, told)


def used_by(pid: int) -> tuple[int, int, int]:
    """Memory in MB, open files and threads of a process."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            told = dict(line.split(":", 1) for line in file)
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0, 0, 0
    return int(told["VmRSS"].split()[0]) // 1024, files, int(told["Threads"])


def test_a_member_whose_disk_dies_stops_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr(local_cluster, "Process", partial(Process, command=COMMAND))
    with local_cluster.LocalCluster(3, trace=False) as cluster:
        victim = cluster.wait_for_leader(PATIENCE_S)
        with cluster.client(timeout_s=PATIENCE_S) as client:
            client.put("a", "1")
            orders = orders_of(cluster.data_dir / victim)
            orders.write_text("broken")
            others = [name for name in cluster.names if name != victim]
            with cluster.client(others[0], timeout_s=PATIENCE_S) as other:
                try:
                    other.put("a", "2")  # the leader's disk fails with it
                except RequestError:
                    pass
                cluster.wait_until(lambda: not cluster.is_alive(victim), PATIENCE_S)
                assert "output error" in cluster.last_words(victim), cluster.last_words(victim)
                other.put("a", "3")
            with pytest.raises(MemberDown):
                cluster.restart(victim)  # its disk still fails
            orders.unlink()
            cluster.restart(victim)
            with cluster.client(victim, timeout_s=PATIENCE_S) as again:
                assert again.get("a").text == "3"


def test_a_leader_that_hangs_on_its_disk_is_replaced_and_follows_when_it_is_back(monkeypatch):
    """Nothing moves in a process that waits for its disk, no heartbeat, no timer."""
    monkeypatch.setattr(local_cluster, "Process", partial(Process, command=COMMAND))
    hangs_s = 5.0
    with local_cluster.LocalCluster(3, trace=False, heartbeat_ms=30, election_ms=300) as cluster:
        hung = cluster.wait_for_leader(PATIENCE_S)
        other = next(name for name in cluster.names if name != hung)
        with cluster.client(other, timeout_s=PATIENCE_S) as client:
            for count in range(20):  # the disk is quick, so the loop itself waits for it
                client.put("a", str(count))
            orders = orders_of(cluster.data_dir / hung)
            orders.write_text(str(hangs_s))
            began_s = time.monotonic()
            try:
                client.put("a", "perhaps")
            except RequestError:
                pass
            client.put("a", "sure")
            assert time.monotonic() - began_s < hangs_s, "nobody took over"
            orders.unlink()
            with cluster.client(hung, timeout_s=PATIENCE_S) as back:
                assert back.get("a").text == "sure"
                back.put("a", "through it")
            assert client.get("a").text == "through it"
        assert cluster.is_alive(hung)
