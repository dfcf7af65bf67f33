"""Locks and semaphores: the order of the line, what becomes of the lost, and fencing."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, put
from kvlearn.errors import LockReleased, SessionExpired, TimedOut
from kvlearn.events import Invoked, Notified
from kvlearn.kv.leases import LeaseKeepAlive
from kvlearn.kv.txn import Txn
from kvlearn.recipes import Lock, Semaphore, Session
from tests.recipes.stage import calm, line_at, lines, past, play


def locks(count: int, ttl_s: int = 5, seed: int = 7, nodes: int = 3, timeout_s: float = 5.0):
    cluster = Cluster(nodes, seed=seed)
    cluster.wait_for_leader()
    return cluster, [Lock(cluster.client(timeout_s=timeout_s), "job", ttl_s) for _ in range(count)]


class Resource:
    """Something outside the store that is written to under a lock, and fences."""

    def __init__(self, fences: bool = True):
        self.fences = fences
        self.highest = 0
        self.written: list[int] = []

    def write(self, token: int) -> bool:
        if self.fences and token < self.highest:
            return False
        self.highest = max(token, self.highest)
        self.written.append(token)
        return True


# One after the other ------------------------------------------------------------------------


def test_a_lock_is_a_key_named_by_its_lease_in_hex():
    cluster, [lock] = locks(1)
    lock.acquire()
    kv = cluster.client().get("job/", prefix=True).kv
    assert lock.key == kv.key_text == f"job/{lock.session.lease.id:x}"
    assert kv.value == b"" and kv.lease == lock.session.lease.id
    assert lock.token == kv.create_revision


def test_locking_what_one_holds_writes_nothing():
    cluster, [lock] = locks(1)
    lock.acquire()
    revision, token = cluster.client().get("x").header.revision, lock.token
    assert lock.acquire() and lock.token == token
    assert Lock(lock.session, "job").acquire(), "the same lease has the same key"
    assert cluster.client().get("x").header.revision == revision


def test_waiters_are_served_in_the_order_in_which_they_came():
    cluster, crowd = locks(4)
    order = [crowd[place] for place in (2, 0, 3, 1)]
    assert [lock.acquire(wait=False) for lock in order] == [True, False, False, False]
    tokens = []
    for place, lock in enumerate(order):
        assert [other.poll() for other in order[place:]] == [True] + [False] * (3 - place)
        tokens.append(lock.token)
        assert lock.release()
        cluster.run(0.2)
    assert tokens == sorted(tokens)


def test_who_is_not_next_asks_nothing_when_the_lock_is_given_back():
    """No thundering herd: one release is told to one waiter, and makes one ask."""
    cluster, crowd = locks(5)
    for lock in crowd:
        lock.acquire(wait=False)
    cluster.run(1)
    before = len(cluster.trace)
    crowd[0].release()
    cluster.run(0.5)
    told = [r.event for r in cluster.trace.of(Notified, start=before) if r.event.response.events]
    assert {event.stream for event in told} == {"c2/w1"}
    before = len(cluster.trace)
    assert [lock.poll() for lock in crowd[1:]] == [True, False, False, False]
    asked = cluster.trace.of(Invoked, start=before)
    polls = [r.node for r in asked if not isinstance(r.event.request, LeaseKeepAlive)]
    assert set(polls) == {"c2"}


def test_who_gives_up_leaves_the_line():
    cluster, (first, second, third) = locks(3)
    first.acquire()
    with pytest.raises(TimedOut, match="job was not free in time"):
        second.acquire(timeout_s=3)
    assert second.state == "idle" and second.token is None
    third.acquire(wait=False)
    assert cluster.client().get("job/", prefix=True).count == 2
    first.release()
    assert third.acquire(timeout_s=2)


def test_trying_leaves_nothing_behind():
    cluster, (first, second) = locks(2)
    assert first.try_acquire() and not second.try_acquire()
    assert cluster.client().get("job/", prefix=True).count == 1
    first.release()
    assert second.try_acquire()


def test_one_in_the_middle_that_leaves_lets_nobody_in():
    cluster, (first, second, third) = locks(3)
    for lock in (first, second, third):
        lock.acquire(wait=False)
    second.release()
    cluster.run(1)
    assert not third.poll() and first.is_held()
    first.release()
    cluster.run(1)
    assert third.poll()


def test_what_is_not_held_cannot_be_given_back():
    cluster, (lock, other) = locks(2)
    with pytest.raises(LockReleased, match="mutex: lock has already been released"):
        lock.release()
    with pytest.raises(SessionExpired):
        _ = lock.guard
    other.acquire()
    lock.acquire(wait=False)
    assert lock.token is None, "who waits has no token"
    with pytest.raises(SessionExpired):
        _ = lock.guard


def test_a_waiting_acquire_lets_time_pass_until_a_crashed_holder_has_run_out():
    cluster, (first, second) = locks(2, ttl_s=5)
    first.acquire()
    cluster.run(6)
    cluster.crash("c1")
    start = cluster.now
    assert second.acquire(timeout_s=20)
    assert 3 < cluster.now - start < 12


# The lost -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_holder_that_sleeps_too_long_is_fenced(seed):
    """The reason for tokens: two believe that they hold, and only one of them is right."""
    cluster, (slow, quick) = locks(2, ttl_s=3, seed=seed)
    slow.acquire()
    token = slow.token
    fences, trusts = Resource(), Resource(fences=False)
    assert fences.write(token) and trusts.write(token)
    cluster.pause("c1")
    assert quick.acquire(timeout_s=20) and quick.token > token
    assert fences.write(quick.token) and trusts.write(quick.token)
    cluster.resume("c1")
    assert slow.token == token, "it believes that it holds"
    assert trusts.write(slow.token) and trusts.written != sorted(trusts.written), "the damage"
    assert not fences.write(slow.token) and fences.written == sorted(fences.written)
    late = slow._place.client.txn().if_(slow.guard).then(put("resource", "old"))
    assert not late.commit().succeeded
    assert quick._place.client.txn().if_(quick.guard).then(put("resource", "new")).commit()
    assert cluster.client().get("resource").text == "new"
    assert not slow.is_held() and slow.lost and slow.state == "lost" and quick.is_held()
    assert slow.token is None


def test_a_holder_learns_by_itself_that_its_lease_is_gone():
    cluster, [lock] = locks(1, ttl_s=3)
    lock.acquire()
    cluster.pause("c1")
    cluster.run(10)
    assert not lock.lost, "it sleeps"
    cluster.resume("c1")
    cluster.run(1)
    assert lock.lost and lock.state == "lost"
    assert lock.acquire() and not lock.lost, "and may get in line again, with another lease"


def test_a_waiter_whose_lease_is_gone_is_told_so_before_its_turn():
    cluster, (first, second) = locks(2, ttl_s=3)
    first.acquire()
    second.acquire(wait=False)
    cluster.pause("c2")
    cluster.run(10)
    cluster.resume("c2")
    cluster.run(1)
    with pytest.raises(SessionExpired, match="mutex: session is expired"):
        second.poll()
    assert second.state == "lost" and first.is_held()


def test_a_block_whose_lock_was_lost_says_so():
    cluster, [lock] = locks(1, ttl_s=3)
    with pytest.raises(SessionExpired, match="in the middle of the block"):
        with lock:
            cluster.pause("c1")
            cluster.run(10)
            cluster.resume("c1")
            cluster.run(1)
    with pytest.raises(ZeroDivisionError):
        with lock:
            lock.session.lease.revoke()
            _ = 1 / 0


def test_a_release_does_not_take_what_was_acquired_anew():
    """Two that share a lease have the same key, but not the same life of it."""
    cluster, [lock] = locks(1)
    twin = Lock(lock.session, "job")
    assert lock.acquire() and twin.acquire() and lock.token == twin.token
    assert twin.release() and twin.acquire() and lock.key == twin.key
    assert lock.token < twin.token and lock.release() and twin.is_held()


def test_the_watch_of_a_waiter_goes_on_when_its_node_crashes():
    cluster, (first, second) = locks(2)
    first.acquire()
    second.acquire(wait=False)
    second.poll()
    node = cluster._clients.streams["c2/w1"].node
    cluster.crash(node)
    cluster.wait_for_leader()
    first.release()
    cluster.run(1)
    assert second.poll()


def test_a_waiter_looks_itself_when_its_watch_was_compacted_away():
    cluster, (first, second) = locks(2)
    first.acquire()
    second.acquire(wait=False)
    second._place._bell._watcher.hold()
    cluster.crash(cluster._clients.streams["c2/w1"].node)
    first.release()
    client = cluster.client()
    client.compact(client.put("x", "1").header.revision)
    second._place._bell._watcher.release()
    cluster.run(2)
    assert second.poll() and second.is_held()


# Unknown outcomes ---------------------------------------------------------------------------


def silence(cluster, client, place: int) -> None:
    """From here on, the answers to the client's transactions number `place` and up get lost once:
    the request is carried out, but what comes back is a time-out."""
    channel, call, seen = client.channel, client.channel.call, []

    def lossy(endpoint, request, timeout_s):
        answer = call(endpoint, request, timeout_s)
        if isinstance(request, Txn) and request.writes:
            seen.append(request)
            if len(seen) == place:
                raise TimedOut(hint="the answer got lost")
        return answer

    channel.call = lossy


def test_an_acquisition_without_an_answer_is_looked_up_and_not_repeated():
    cluster, [lock] = locks(1)
    silence(cluster, lock._place.client, 1)
    assert lock.acquire() and lock.is_held()
    assert lock._place.unsure == 0
    writes = [event for event in past(cluster, "job/")]
    assert len(writes) == 1


def delay_writes(cluster, client, seconds: float) -> None:
    """The client's next transaction travels so long that it is given up before it arrives."""
    leader = cluster.wait_for_leader()
    follower = next(name for name in cluster.nodes if name != leader)
    channel, call = client.channel, client.channel.call

    def late(endpoint, request, timeout_s):
        if not (isinstance(request, Txn) and request.writes):
            return call(endpoint, request, timeout_s)
        cluster.submit(request, follower, "c1")
        way = follower, leader
        packets = [p for p in cluster.in_flight if (p.message.source, p.message.target) == way]
        cluster.delay(packets[-1], seconds)
        channel.call = call
        raise TimedOut()

    channel.call = late


@pytest.mark.parametrize("careful", [True, False])
def test_an_acquisition_that_comes_late_finds_no_lease(careful):
    """Without that care it would put up a key that nobody knows of, and block the line."""
    cluster, (lock, other) = locks(2, ttl_s=60)
    assert lock.session.lease
    delay_writes(cluster, lock._place.client, seconds=8)
    with pytest.raises(TimedOut):
        lock._place.join(b"", give_up=0) if not careful else lock.acquire(wait=False)
    assert lock.state == "idle" and lock.session.is_kept != careful
    cluster.run(10)
    assert other.try_acquire() == careful


def test_a_release_without_an_answer_ends_the_lease():
    cluster, (lock, other) = locks(2)
    lock.acquire()
    client = lock._place.client
    call = client.channel.call

    def deaf(endpoint, request, timeout_s):
        if isinstance(request, Txn) and request.writes:
            raise TimedOut()
        return call(endpoint, request, timeout_s)

    client.channel.call = deaf
    assert lock.release(), "the revocation was heard"
    assert other.acquire(timeout_s=1)


# Semaphores ---------------------------------------------------------------------------------


def test_a_semaphore_lets_n_in_and_the_next_one_when_any_of_them_goes():
    cluster = Cluster(3, seed=7)
    crowd = [Semaphore(cluster.client(), "seat", n=2) for _ in range(5)]
    assert [one.acquire(wait=False) for one in crowd] == [True, True, False, False, False]
    crowd[1].release()  # not the oldest
    cluster.run(0.5)
    assert [one.poll() for one in crowd[2:]] == [True, False, False]
    crowd[3].release()  # one that waits: nobody gets in
    cluster.run(0.5)
    assert not crowd[4].poll()
    crowd[0].release()
    cluster.run(0.5)
    assert crowd[4].poll() and crowd[2].is_held()


@pytest.mark.parametrize("n", [0, 1.5, None])
def test_a_semaphore_of_nothing_is_refused(n):
    with pytest.raises(ValueError, match="number of holders"):
        Semaphore(Cluster(1).client(), "seat", n=n)


def test_a_name_is_needed():
    with pytest.raises(ValueError, match="a name is needed"):
        Lock(Cluster(1).client(), "")


def test_those_that_share_a_session_go_together():
    cluster = Cluster(3, seed=7)
    with Session(cluster.client(), ttl_s=5) as session:
        left, right = Lock(session, "left"), Lock(session, "right")
        assert left.acquire() and right.acquire() and session.is_alive()
    assert not left.is_held() and not right.is_held() and not session.is_alive()


# In trouble ---------------------------------------------------------------------------------


class Worker:
    """Gets in line, writes to the resource while it holds, gives back, and begins again."""

    def __init__(self, client, n: int, guarded: bool = True):
        self.client, self.guarded = client, guarded
        self.lock = Semaphore(client, "job", n, ttl_s=3)
        self.left = 0
        self.holdings: list[tuple[int, int]] = []  # (token, held from which revision)

    def __call__(self) -> None:
        lock = self.lock
        if lock._place.state == "held":
            if self.left:
                self.left -= 1
                txn = self.client.txn()
                if self.guarded:
                    txn.if_(lock.guard)
                txn.then(put("resource", str(lock.token))).commit()
            else:
                lock.release()
        elif lock.poll() if lock._place.state == "waiting" else lock.acquire(wait=False):
            self.left = 2
            self.holdings.append((lock.token, lock._place.held_from))


def contest(seed: int, n: int, guarded: bool = True, kinds: str = "npllcx"):
    cluster = Cluster(3, seed=seed)
    cluster.wait_for_leader()
    workers = {}
    for _ in range(4):
        client = cluster.client(timeout_s=1)
        workers[client.name] = Worker(client, n, guarded)
    gone = play(seed, cluster, workers, 150, kinds)
    return cluster, workers, gone


def judge(cluster, workers, n: int) -> list[str]:
    """What is wrong with what happened, by the store's own history."""
    history, wrong = past(cluster, "job/"), []
    for name, worker in workers.items():
        tokens = [token for token, _ in worker.holdings]
        if tokens != sorted(set(tokens)):
            wrong.append(f"{name}'s tokens do not rise: {tokens}")
        for token, revision in worker.holdings:
            if token not in line_at(history, revision)[:n]:
                wrong.append(f"{name} held {token} at {revision} without being among the first")
    for event in past(cluster, "resource"):
        token = int(event.kv.text)
        if token not in line_at(history, event.kv.mod_revision)[:n]:
            wrong.append(f"write under {token} at {event.kv.mod_revision}, which did not hold")
    return wrong


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_at_no_revision_are_there_more_holders_than_seats(seed, n):
    cluster, workers, gone = contest(seed, n)
    held = sum(len(worker.holdings) for worker in workers.values())
    assert held > 4, f"seed {seed}: {held} holdings prove nothing"
    assert not judge(cluster, workers, n), f"contest({seed}, {n})"
    if n == 1:
        tokens = [int(event.kv.text) for event in past(cluster, "resource")]
        assert tokens == sorted(tokens), f"contest({seed}, 1)"
    free_again(cluster, workers, gone, n)


def free_again(cluster, workers, gone, n: int) -> None:
    """Nothing is left behind that blocks the line for ever."""
    calm(cluster)
    for name, worker in workers.items():
        if name not in gone and worker.lock._place.revision:
            worker.lock.release()
    cluster.run(15)
    crowd = [Semaphore(cluster.client(), "job", n) for _ in range(n)]
    assert all(one.try_acquire() for one in crowd)


def test_without_a_guard_somebody_writes_who_holds_no_more():
    """The test above can fail: whoever wakes up late and asks nobody does damage."""
    found = []
    for seed in range(12):
        cluster, workers, _ = contest(seed, 1, guarded=False, kinds="cccn")
        found += judge(cluster, workers, 1)
        if found:
            break
    assert found and all("did not hold" in line for line in found)


def test_the_line_is_read_from_the_history():
    cluster, (first, second) = locks(2)
    first.acquire(), second.acquire(wait=False)
    tokens = first.token, second._place.revision
    first.release()
    steps = [line for _, line in lines(past(cluster, "job/"))]
    assert steps == [[tokens[0]], [*tokens], [tokens[1]]]
