"""Informers and the registry: the copy equals the store, whatever happens to the watch."""

from __future__ import annotations

from random import Random

import pytest

from kvlearn import Cluster
from kvlearn.errors import Compacted, RequestError, TimedOut
from kvlearn.recipes import Informer, Registry
from tests.recipes.stage import calm, past, play


def start(seed: int = 7, prefix: str = "pod/", **options):
    """A cluster, a client that writes (c1), and the informer of another (c2)."""
    cluster = Cluster(3, seed=seed)
    cluster.wait_for_leader()
    writer = cluster.client()
    return cluster, writer, Informer(cluster.client(), prefix, **options)


def fall_behind(cluster, writer, informer) -> None:
    """Its watch stands still while its node crashes and history is compacted."""
    informer.watcher.hold()
    cluster.crash(cluster._clients.streams[informer.watcher.stream].node)
    writer.delete("pod/a"), writer.put("pod/b", "changed"), writer.put("pod/c", "new")
    writer.compact(writer.put("x", "").header.revision)
    informer.watcher.release()
    cluster.run(1)


def told(changes) -> list[str]:
    return [f"{change.kind} {change.key}" for change in changes]


def test_it_lists_and_then_watches():
    cluster, writer, informer = start()
    writer.put("pod/a", "1"), writer.put("pod/b", "1"), writer.put("other", "1")
    assert told(informer.poll()) == ["add pod/a", "add pod/b"]
    assert informer.revision == 4 and informer.lists == 1 and len(informer) == 2
    writer.put("pod/a", "2"), writer.delete("pod/b"), writer.put("pod/c", "1"), writer.put("x", "")
    cluster.run(0.5)
    changes = informer.poll()
    assert told(changes) == ["update pod/a", "delete pod/b", "add pod/c"]
    assert (changes[0].old.text, changes[0].new.text, changes[0].revision) == ("1", "2", 5)
    assert changes[1].old.text == "1" and changes[1].new is None and changes[1].revision == 6
    assert informer["pod/a"].text == "2" and "pod/b" not in informer and informer.lists == 1
    assert informer.poll() == [] and informer.revision == 7


def test_handlers_hear_each_change_once():
    heard = []
    cluster, writer, informer = start(
        on_add=lambda change: heard.append(("add", change.key)),
        on_update=lambda change: heard.append(("update", change.key)),
        on_delete=lambda change: heard.append(("delete", change.key)),
    )
    writer.put("pod/a", "1")
    informer.poll()
    writer.put("pod/a", "2"), writer.delete("pod/a")
    informer.wait(lambda i: "pod/a" not in i)
    assert heard == [(name, "pod/a") for name in ("add", "update", "delete")]


def test_a_handler_that_fails_loses_one_change_and_the_cache_none():
    def picky(change):
        heard.append(change.key)
        if change.key == "pod/a":
            raise ZeroDivisionError

    heard: list[str] = []
    _, writer, informer = start(on_add=picky)
    writer.put("pod/a", "1"), writer.put("pod/b", "1")
    with pytest.raises(ZeroDivisionError):
        informer.poll()
    assert "pod/a" in informer and "pod/b" not in informer and informer.revision == 0
    informer.poll()
    assert heard == ["pod/a", "pod/b"] and "pod/b" in informer and informer.revision == 3


def test_it_lists_again_when_history_is_gone_and_tells_only_what_differs():
    cluster, writer, informer = start()
    for name in "abd":
        writer.put(f"pod/{name}", "1")
    informer.poll()
    fall_behind(cluster, writer, informer)
    assert told(informer.poll()) == ["delete pod/a", "update pod/b", "add pod/c"]
    assert informer.lists == 2
    writer.put("pod/a", "again")
    assert told(informer.wait()) == ["add pod/a"] and informer.lists == 2


def test_what_was_heard_before_history_was_gone_is_told_first():
    cluster, writer, informer = start()
    writer.put("pod/a", "1")
    informer.poll()
    writer.put("pod/a", "2")
    cluster.run(0.5)
    fall_behind(cluster, writer, informer)
    assert told(informer.poll()) == ["update pod/a", "delete pod/a", "add pod/b", "add pod/c"]


def test_it_goes_on_at_another_node():
    cluster, writer, informer = start()
    informer.poll()
    cluster.crash(cluster._clients.streams[informer.watcher.stream].node)
    writer.put("pod/a", "1")
    assert told(informer.wait()) == ["add pod/a"] and informer.lists == 1


def test_a_deletion_that_a_compaction_took_before_it_was_told_is_found():
    """The watch goes on at the very revision of the deletion, which is the compacted one: it is
    told nothing, and nobody says so."""
    cluster, writer, informer = start()
    writer.put("pod/a", "1")
    informer.poll()
    cluster.run(0.5)
    node = cluster._clients.streams[informer.watcher.stream].node
    cluster.isolate(node)
    cluster.run(3)
    writer.compact(writer.delete("pod/a").header.revision)
    cluster.crash(node)
    writer.put("pod/b", "1")
    cluster.run(2)
    assert informer.watcher.resumed == 1
    assert told(informer.poll()) == ["add pod/b", "delete pod/a"] and informer.lists == 2
    assert informer.poll() == [] and informer.lists == 2


def test_it_lists_page_by_page_as_of_one_revision():
    cluster, writer, informer = start(page=2)
    for name in "abcde":
        writer.put(f"pod/{name}", "1")
    get, pages = informer._client.get, []

    def and_meanwhile(*asked, **options):
        reply = get(*asked, **options)
        pages.append(reply)
        writer.put("pod/d", f"changed after page {len(pages)}")
        return reply

    informer._client.get = and_meanwhile
    informer.poll()
    assert len(pages) == 3 and informer.revision == 6 and informer["pod/d"].text == "1"
    cluster.run(0.5)
    assert told(informer.poll()) == ["update pod/d"] * 3


def test_a_compaction_between_two_pages_begins_the_list_anew():
    _, writer, informer = start(page=2)
    for name in "abc":
        writer.put(f"pod/{name}", "1")
    get, once = informer._client.get, []

    def and_meanwhile(*asked, **options):
        reply = get(*asked, **options)
        if not once:
            once.append(writer.compact(writer.put("pod/d", "1").header.revision))
        return reply

    informer._client.get = and_meanwhile
    assert told(informer.poll()) == [f"add pod/{name}" for name in "abcd"]


def test_resync_tells_of_everything_now_and_then():
    heard: list[str] = []
    tell = dict(on_update=lambda change: heard.append(change.kind))
    cluster, writer, informer = start(resync_s=5, **tell)
    writer.put("pod/a", "1"), writer.put("pod/b", "1")
    assert told(informer.poll()) == ["add pod/a", "add pod/b"]
    cluster.run(5)
    assert told(informer.poll()) == ["resync pod/a", "resync pod/b"] and informer.poll() == []
    assert heard == ["resync"] * 2 and informer.lists == 1
    assert all(change.old == change.new for change in informer.resync())


def test_optimistic_writes_do_not_undo_what_was_not_seen():
    cluster, writer, informer = start()
    informer.poll()
    assert informer.replace("pod/a", "mine") and not informer.replace("pod/a", "too old")
    informer.wait()
    assert informer.replace("pod/a", "mine again")
    writer.put("pod/a", "theirs")
    assert not informer.replace("pod/a", "too old") and writer.get("pod/a").text == "theirs"


def test_waiting_ends():
    _, _, informer = start()
    with pytest.raises(TimedOut, match="did not come in time"):
        informer.wait(timeout_s=1)


class Writer:
    """Puts and deletes, alone and together, and compacts now and then."""

    def __init__(self, client, rng: Random):
        self.client, self.rng = client, rng

    def __call__(self) -> None:
        key = f"pod/{self.rng.choice('abcdef')}"
        roll = self.rng.random()
        if roll < 0.6:
            self.client.put(key, str(self.rng.random()))
        elif roll < 0.9:
            self.client.delete(key)
        else:
            self.client.compact(self.client.get(key).header.revision)


class Reader:
    """Polls, and compares its cache with the store at the same revision."""

    def __init__(self, client, witness):
        self.mirror: dict[bytes, bytes] = {}
        self.witness = witness
        keep = dict.fromkeys(("on_add", "on_update"), self.put)
        self.informer = Informer(client, "pod/", **keep, on_delete=self.drop)
        self.compared = 0
        self.wrong: list[str] = []

    def put(self, change) -> None:
        self.mirror[change.new.key] = change.new.value

    def drop(self, change) -> None:
        del self.mirror[change.old.key]

    def __call__(self) -> None:
        before = self.informer.revision
        self.informer.poll()
        revision = self.informer.revision
        if revision < before:
            self.wrong.append(f"went back from {before} to {revision}")
        cache = {key: kv.value for key, kv in self.informer.cache.items()}
        if cache != self.mirror:
            self.wrong.append(f"the handlers know something else at {revision}")
        try:
            there = self.witness.get("pod/", prefix=True, revision=revision, serializable=True)
        except Compacted:
            return
        self.compared += 1
        if {kv.key: kv for kv in there.kvs} != self.informer.cache:
            self.wrong.append(f"the cache is not the store at {revision}")


@pytest.mark.parametrize("seed", range(6))
def test_the_cache_is_the_store_as_it_was(seed):
    cluster = Cluster(3, seed=seed)
    cluster.wait_for_leader()
    witness = cluster.client(timeout_s=1)
    writer = Writer(cluster.client(timeout_s=1), Random(seed))
    readers = [Reader(cluster.client(timeout_s=1), witness) for _ in range(2)]
    actors = {"c2": writer, "c3": readers[0], "c4": readers[1]}
    gone = play(seed, cluster, actors, 120, "nplcc")
    assert not gone
    now = witness.get("pod/", prefix=True)
    for reader in readers:
        reader.informer.wait(lambda i: i.revision >= now.header.revision or settled(i, now), 20)
        assert not reader.wrong, f"seed {seed}: {reader.wrong[0]}"
        assert reader.compared > 5, f"seed {seed}: nothing was compared"
        assert settled(reader.informer, now), f"seed {seed}"


def settled(informer, now) -> bool:
    return informer.cache == {kv.key: kv for kv in now.kvs}


# Service discovery --------------------------------------------------------------------------


def test_addresses_come_and_go():
    cluster = Cluster(3, seed=7)
    registry, other = Registry(cluster.client()), Registry(cluster.client())
    one = registry.register("web", "10.0.0.1:80", ttl_s=4)
    view = other.discover("web")
    assert view.addresses == ("10.0.0.1:80",)
    Registry(cluster.client()).register("web", "10.0.0.2:80", ttl_s=4)
    registry.register("db", "10.0.0.9:1", ttl_s=4)
    assert view.wait() == ("10.0.0.1:80", "10.0.0.2:80")
    assert one.key == f"services/web/{one._place.lease.id:x}"
    assert one.deregister() and view.wait() == ("10.0.0.2:80",)
    cluster.crash("c3")
    with pytest.raises(TimedOut):
        view.wait(timeout_s=1)  # its lease outlives it
    assert view.wait(timeout_s=15) == ()


@pytest.mark.parametrize("seed", range(3))
def test_a_server_that_slept_registers_again(seed):
    cluster = Cluster(3, seed=seed)
    server = Registry(cluster.client()).register("web", "10.0.0.1:80", ttl_s=3)
    view = Registry(cluster.client()).discover("web")
    key = server.key
    assert not server.renew(), "it is there"
    cluster.pause("c1")
    view.wait(lambda v: not v.addresses, timeout_s=15)
    cluster.crash(cluster._clients.streams[view.informer.watcher.stream].node)
    cluster.wait_for_leader()
    cluster.resume("c1")
    cluster.run(1.5)
    assert server.lost and server.renew() and not server.lost and server.key != key
    assert view.wait(lambda v: v.addresses, timeout_s=10) == ("10.0.0.1:80",)
    calm(cluster)
    assert [event.type for event in past(cluster, "services/")] == ["put", "delete", "put"]


def test_a_registration_that_nobody_answered_leaves_nothing_behind():
    cluster = Cluster(3, seed=7)
    client = cluster.client(timeout_s=1)
    for name in ("n1", "n2"):
        cluster.crash(name)
    with pytest.raises(RequestError):
        Registry(client).register("web", "10.0.0.1:80", ttl_s=3)
    calm(cluster)
    cluster.run(12)
    assert Registry(cluster.client()).discover("web").addresses == ()


@pytest.mark.parametrize("name", ["", "web/v2"])
def test_names_of_services_do_not_nest(name):
    with pytest.raises(ValueError, match="without a slash"):
        Registry(Cluster(1).client()).discover(name)
