"""What lesson 15's prose says of its seeded runs is so."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, put
from kvlearn.course.exercises.recipes import FencedFile, File, compare_files, web_servers
from kvlearn.errors import Fenced
from kvlearn.events import LeaseExpired, Notified, WatchAsked
from kvlearn.recipes import Checkpoint, Election, Informer, Lock, Registry, Semaphore


def test_the_gateway_drops_who_is_silent_within_five_seconds():
    cluster = web_servers()
    gateway = Registry(cluster.client()).discover("web")
    assert len(gateway.addresses) == 3
    took = []
    for server, happens in ("c2", cluster.crash), ("c3", cluster.pause):
        happens(server)
        since, left = cluster.now, len(gateway.addresses) - 1
        gateway.wait(lambda view: len(view.addresses) == left, timeout_s=20)
        took.append(cluster.now - since)
    assert [round(seconds, 1) for seconds in took] == [5.0, 3.4]
    cluster.resume("c3")
    cluster.run(2)
    gateway.poll()
    assert gateway.addresses == ("10.0.0.1:80",)  # c3 lives, and is not there


def test_a_server_that_slept_is_there_again_once_it_asks():
    cluster = Cluster(3, seed=7)
    server = Registry(cluster.client()).register("web", "10.0.0.1:80", ttl_s=5)
    gateway = Registry(cluster.client()).discover("web")
    cluster.pause("c1")
    gateway.wait(lambda view: not view.addresses, timeout_s=20)
    cluster.resume("c1")
    cluster.run(2)
    assert server.renew() and gateway.wait() == ("10.0.0.1:80",)


def test_crashing_the_leader_costs_no_server_its_address():
    cluster = web_servers()
    cluster.crash(cluster.leader)
    cluster.run(10)
    assert len(Registry(cluster.client()).discover("web").addresses) == 3
    assert not list(cluster.trace.of(LeaseExpired))


def test_the_line_of_candidates():
    cluster = Cluster(3, seed=7)
    ann, bob, cem = (Election(cluster.client(), "boss", ttl_s=5) for _ in range(3))
    for who, name in (ann, "ann"), (bob, "bob"), (cem, "cem"):
        who.campaign(name, wait=False)

    def in_line():
        reply = cluster.client().get("boss/", prefix=True, sort="create", descending=False)
        return [(kv.text, kv.create_revision) for kv in reply.kvs]

    assert in_line() == [("ann", 2), ("bob", 3), ("cem", 4)]
    cluster.crash("c1")
    cluster.run(7)
    assert in_line() == [("bob", 3), ("cem", 4)]
    assert (bob.poll(), cem.poll()) == (True, False)


def test_two_print_at_a_time():
    cluster = Cluster(3, seed=7)
    printers = [Semaphore(cluster.client(), "printer", n=2, ttl_s=5) for _ in range(4)]
    for printer in printers:
        printer.acquire(wait=False)
    assert [printer.state for printer in printers] == ["held", "held", "waiting", "waiting"]
    printers[0].release()
    cluster.run(0.5)
    assert [printer.poll() for printer in printers] == [False, True, True, False]


def test_one_who_waits_for_a_lock_watches_one_key_and_one_wakes_up():
    cluster = Cluster(3, seed=7)
    locks = [Lock(cluster.client(), "report", ttl_s=5) for _ in range(6)]
    for lock in locks:
        lock.acquire(wait=False)
    asked = [r.event.request for r in cluster.trace.of(WatchAsked)]
    watched = [one.key.decode() for one in asked if hasattr(one, "key")]
    assert watched == [lock.key for lock in locks[:-1]]
    start = len(cluster.trace)
    locks[0].release()
    cluster.run(0.5)
    woken = [r for r in cluster.trace.of(Notified, start=start) if r.event.response.events]
    assert len(woken) == 1


def test_the_next_worker_goes_on_behind_page_3():
    cluster = Cluster(3, seed=7)
    one, other = (Checkpoint(cluster.client(), "report", ttl_s=5) for _ in range(2))
    one.claim()
    for page in (1, 2, 3):
        one.save({"page": page})
    assert not other.claim(wait=False)
    cluster.crash("c1")
    assert other.claim(timeout_s=20) and other.progress == {"page": 3}


def test_a_save_is_made_under_the_guard():
    cluster = Cluster(3, seed=7)
    one = Checkpoint(cluster.client(), "report", ttl_s=5)
    one.claim()
    cluster.pause("c1")
    cluster.run(8)
    cluster.resume("c1")
    with pytest.raises(Fenced):
        one.save({"page": 1})


def test_who_decided_on_an_old_copy_is_refused():
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    client.put("pod/a", "new")
    left, right = (Informer(cluster.client(), "pod/") for _ in range(2))
    left.poll(), right.poll()
    assert left.replace("pod/a", "node1") and not right.replace("pod/a", "node2")
    assert [str(change) for change in right.wait()] == ["update pod/a=node1 at 3"]
    assert right.replace("pod/a", "node2") and client.get("pod/a").text == "node2"


def overslept(file):
    cluster = Cluster(3, seed=7)
    writers = cluster.client(), cluster.client()
    one, other = (Lock(client, "report", ttl_s=5) for client in writers)
    one.acquire()
    other.acquire(wait=False)
    file.write(one, "c1, page 1")
    cluster.pause("c1")
    paused_s = cluster.now
    cluster.run_until(lambda _: other.poll(), timeout_s=20)
    file.write(other, "c2, page 1")
    cluster.run(7)
    assert round(cluster.now - paused_s) == 12
    cluster.resume("c1")
    beliefs = one.state, other.state
    file.write(one, "c1, page 2")
    inside = writers[0].txn().if_(one.guard).then(put("report/page", "c1, page 2"))
    return cluster, beliefs, inside.commit().succeeded, one.is_held()


@pytest.mark.parametrize(("kind", "taken"), [(File, True), (FencedFile, False)])
def test_two_believe_and_the_fence_knows(kind, taken):
    file = kind()
    _, beliefs, inside, asked = overslept(file)
    assert beliefs == ("held", "held") and inside is False and asked is False
    assert [line[0] for line in file.lines] == [2, 3, 2]
    assert [line[2] for line in file.lines] == [True, True, taken]
    assert (file.damage is not None) is taken


def test_the_two_files_differ_in_the_last_write():
    comparison = compare_files(overslept)
    assert comparison.names == ("FencedFile", "File")
    assert [line.rpartition(" ")[2] for line in comparison.first] == ["refused", "taken"]
    assert comparison.rows[-1][0] == "✓ in order" and "damaged" in comparison.rows[-1][1]
