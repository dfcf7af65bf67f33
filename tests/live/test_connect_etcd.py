"""connect() against what is real: an etcd, and kvlearn's own members. Both have to do the same.

KVLEARN_ETCD names the program; else `etcd` is looked for on the path.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from itertools import count

import grpc
import pytest

from kvlearn import Cluster, connect, create_revision, delete, get, lease_of, put, value, version
from kvlearn.errors import (
    Compacted,
    ElectionNotLeader,
    Fenced,
    KeyExists,
    LeaseNotFound,
    MemberNotFound,
    ReadOnly,
    RequestError,
    TimedOut,
    Unavailable,
)
from kvlearn.handles import Lease
from kvlearn.kv.requests import Header
from kvlearn.live import LocalCluster
from kvlearn.live.proto import auth_pb2, rpc_pb2
from kvlearn.recipes import (
    Barrier,
    Checkpoint,
    DoubleBarrier,
    Election,
    Informer,
    Lock,
    Registry,
    Semaphore,
    Stm,
)
from tests.etcd.server import find_etcd
from tests.live.etcd_cluster import EtcdCluster

KINDS = ("etcd", "kvlearn")
_numbers = count(1)


def start(kind: str, size: int, **more):
    """Members of a kind; the test is skipped where there are none."""
    if kind == "kvlearn":
        members = LocalCluster(size, trace=False, **more)
        members.wait_for_leader()
        return members
    program = find_etcd()
    if program is None:
        pytest.skip("no etcd found; install etcd-server, or set KVLEARN_ETCD to the program")
    return EtcdCluster(program, size, **more)


@pytest.fixture(scope="module", params=KINDS)
def one(request):
    """A single member that all tests of this file share."""
    members = start(request.param, 1)
    yield members
    members.close()


@pytest.fixture
def fresh(request):
    """Makes members that belong to the test alone, of the kind that the test is for."""
    made = []

    def make(kind: str, size: int, **more):
        made.append(start(kind, size, **more))
        return made[-1]

    yield make
    for members in made:
        members.close()


@pytest.fixture
def clients(one):
    """Makes clients of the single member, and closes them in the end."""
    made = []

    def make(**more):
        made.append(connect(one.endpoints, **{"write": True, **more}))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(clients):
    return clients()


@pytest.fixture
def key():
    """A key, and prefix, that no other test uses."""
    return f"test{next(_numbers)}/"


def until(condition, timeout_s: float = 15.0):
    """Wait until something is so, and return what it is."""
    give_up = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < give_up, "not so in time"
        time.sleep(0.01)
    return found


@contextmanager
def together(*functions):
    """Run functions in threads while the block runs; then all have ended, and none failed."""
    failures: list[BaseException] = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(one,), daemon=True) for one in functions]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "still busy"
    if failures:
        raise failures[0]


# The same as the simulator ----------------------------------------------------------------------


def script(client):
    """One call after the other, and what came of each: what is told must not depend on who is
    asked."""
    txn = client.txn
    yield lambda: client.get("a")
    yield lambda: client.put("a", "1")
    yield lambda: client.put("a", b"2\xff", prev_kv=True)
    yield lambda: client.put("b", "1")
    yield lambda: client.put("c/1", "x"), lambda: client.put("c/2", "y")
    yield lambda: client.get("a")
    yield lambda: client.get("a", "c")
    yield lambda: client.get("c/", prefix=True, sort="value", descending=True)
    yield lambda: client.get("b", from_key=True, limit=1)
    yield lambda: client.get("", prefix=True, keys_only=True, sort="mod", descending=False)
    yield lambda: client.get("", prefix=True, count_only=True)
    yield lambda: client.get("a", revision=2), lambda: client.get("a", serializable=True)
    yield lambda: client.get("", prefix=True, min_mod_revision=4, max_create_revision=5)
    yield lambda: client.get(""), lambda: client.put(""), lambda: client.delete("")
    yield lambda: client.get("a", revision=99)
    yield lambda: client.put("nobody", ignore_value=True)
    yield lambda: client.put("a", "v", ignore_value=True)
    yield lambda: client.put("a", ignore_lease=True, lease=3)
    yield lambda: client.put("a", "v", lease=77)
    yield lambda: client.put("a", ignore_value=True, prev_kv=True)
    yield lambda: txn().if_(version("a") == 3).then(get("a"), put("d")).else_(delete("a")).commit()
    yield lambda: txn().if_(value("a") > "9").then(put("e")).else_(get("a")).commit()
    yield lambda: txn().if_(create_revision("c/", prefix=True) > 4).then(put("f")).commit()
    yield lambda: txn().if_(lease_of("a") != 0).commit()
    inner = txn().if_(version("zz") == 0).then(put("g", "1"), get("g"))
    yield lambda: txn().then(inner, delete("c/", prefix=True, prev_kv=True)).commit()
    yield lambda: txn().then(put("a"), put("a")).commit()
    yield lambda: txn().then(*[put(f"many{n}") for n in range(129)]).commit()
    yield lambda: txn().then(put("h"), get("a", revision=999)).commit()
    yield lambda: client.delete("a", prev_kv=True), lambda: client.delete("a")
    yield lambda: client.delete("b", "d", prev_kv=True)
    yield lambda: client.lease(600, id=77).id, lambda: client.lease(600, id=77)
    yield lambda: client.lease(9_000_000_001)
    yield lambda: client.put("leased", "1", lease=77), lambda: client.put("more", lease=77)
    yield lambda: client.get("leased"), lambda: client.leases()
    yield lambda: client.put("leased", "2", ignore_lease=True, prev_kv=True)
    yield lambda: txn().if_(lease_of("leased") == 77).then(get("leased")).commit()
    yield lambda: client.compact(6), lambda: client.compact(6), lambda: client.compact(999)
    yield lambda: client.get("a", revision=5), lambda: client.get("a", revision=6)
    yield lambda: client.hash_kv().compact_revision, lambda: client.hash_kv(3)
    yield lambda: client.alarms().alarms, lambda: client.disarm().alarms
    yield lambda: client.history("d").to_dict("index")
    yield lambda: [member.name for member in client.members().members]


def told(client) -> list:
    """What came of the script; of headers the revision alone."""
    outcomes = []
    for calls in script(client):
        for call in calls if isinstance(calls, tuple) else (calls,):
            try:
                reply = call()
            except RequestError as error:
                outcomes.append((type(error).__name__, error.code, error.text))
                continue
            head = getattr(reply, "header", Header())
            outcomes.append((getattr(reply, "result", reply), head.revision))
    return outcomes


@pytest.mark.parametrize("kind", KINDS)
def test_a_real_cluster_says_what_a_simulated_one_says(fresh, kind):
    simulated = Cluster(1, seed=7)
    simulated.wait_for_leader()
    expected, found = told(simulated.client()), told(fresh(kind, 1).client())
    for number, (mine, real) in enumerate(zip(expected, found, strict=True)):
        assert mine == real, f"call {number}"


def test_headers_name_the_member_that_answered(one, client):
    status = client.status()
    assert status.header.cluster_id and status.header.raft_term
    assert status.header.member_id == client.get("a").header.member_id == status.leader
    assert client.members().members[0].id == status.leader


# Reading only -----------------------------------------------------------------------------------


def test_who_may_not_write_reads_and_watches(clients, client, key, tmp_path):
    reader = clients(write=False)
    with pytest.raises(ReadOnly, match="write=True"):
        reader.put(key, "v")
    client.put(key, "v")
    assert reader.get(key).text == "v" and reader.history(key)["value"].tolist() == ["v"]
    with reader.watch(key) as watcher:
        client.put(key, "w")
        assert watcher.recv().kv.text == "w"
    assert reader.status().version and reader.hash_kv().hash and reader.members().members
    assert reader.snapshot(tmp_path / "state") == (tmp_path / "state").stat().st_size > 0


# Watches ----------------------------------------------------------------------------------------


def test_a_watch_tells_everything_once_and_in_order(client, key):
    first = client.put(key + "a", "0").header.revision
    watcher = client.watch(key, prefix=True, prev_kv=True, start_revision=first)
    numbers = range(1, 200)
    for number in numbers:
        client.put(key + "a", str(number))
    client.txn().then(put(key + "b"), delete(key + "a")).commit()
    events = [watcher.recv() for _ in range(len(numbers) + 3)]
    assert [int(e.kv.text) for e in events[:-2]] == [0, *numbers]
    assert [int(e.prev_kv.text) for e in events[1:-2]] == [0, *numbers][:-1]
    assert [e.type for e in events[-2:]] == ["put", "delete"]
    assert events[-1].prev_kv.text == "199" and events[-1].kv.value == b""
    assert events[-1].kv.mod_revision == events[-2].kv.mod_revision
    assert watcher.progress() >= events[-1].kv.mod_revision
    assert watcher.events() == [] and watcher.resumed == 0


def test_a_watch_leaves_out_what_is_filtered(client, key):
    puts = client.watch(key, filters=["delete"])
    deletes = client.watch(key, filters="put")
    client.put(key, "1"), client.delete(key), client.put(key, "2")
    assert [puts.recv().kv.text for _ in range(2)] == ["1", "2"]
    assert deletes.recv().type == "delete"
    puts.progress(), deletes.progress()
    assert puts.events() == deletes.events() == []


def test_a_large_answer_comes_in_parts_and_is_told_whole(client, key):
    large = "x" * (700 << 10)
    for _ in range(2):  # with the previous pairs it is twice as much
        client.txn().then(put(key + "a", large), put(key + "b", large)).commit()
    last = client.get(key, prefix=True).kvs[0].mod_revision
    watcher = client.watch(key, prefix=True, prev_kv=True, fragment=True, start_revision=last)
    assert [watcher.recv(15).kv.key_text for _ in range(2)] == [key + "a", key + "b"]
    parts = [one for one in watcher.responses if one.events]
    assert [one.fragment for one in parts] == [True, False]


def test_a_watch_of_what_is_compacted_ends(client, key):
    first = client.put(key, "1").header.revision
    last = client.put(key, "2").header.revision
    client.compact(last)
    watcher = client.watch(key, start_revision=first)
    with pytest.raises(Compacted):
        watcher.recv()
    assert watcher.canceled.startswith("compacted at")


def test_a_stream_has_many_watches(client, key):
    stream, heard = client.watch_stream(), []

    def hear(wanted):
        def came():
            heard.extend(stream.take())
            return [one for one in heard if wanted(one)]

        return until(came)[-1]

    stream.create(key + "a"), stream.create(key + "b", watch_id=7)
    client.put(key + "b", "1")
    assert hear(lambda one: one.events).watch_id == 7
    stream.create(key + "c", watch_id=7)
    refused = hear(lambda one: one.canceled)
    assert (refused.watch_id, refused.cancel_reason) == (
        -1, "mvcc: duplicate watch ID provided on the WatchStream"
    )  # fmt: skip
    stream.cancel(7)
    assert hear(lambda one: one.canceled and one.watch_id == 7)
    stream.request_progress()
    assert hear(lambda one: one.watch_id == -1 and not one.canceled).revision
    stream.close()


def test_a_slow_client_misses_nothing(client, key):
    watcher = client.watch(key)
    watcher.hold()
    large = "x" * (100 << 10)
    for number in range(40):  # more than is on the way at once
        client.put(key, f"{number} {large}")
    before = len(watcher.responses)
    watcher.release()
    assert [int(watcher.recv(15).kv.text.split()[0]) for _ in range(40)] == list(range(40))
    assert before == 1, "only the answer that it was created"


# Leases -----------------------------------------------------------------------------------------


def test_a_lease_lives_as_long_as_it_is_kept(clients, client, key):
    kept, left = client.lease(2).keep_alive(), client.lease(2)
    assert kept.ttl_s == left.ttl_s == 2 and kept.is_kept and not left.is_kept
    client.put(key + "kept", lease=kept), client.put(key + "left", lease=left)
    watcher = client.watch(key, prefix=True, filters=["put"])
    assert watcher.recv(timeout_s=10).kv.key_text == key + "left"
    assert left.time_to_live().ttl_s == -1
    with pytest.raises(LeaseNotFound):
        left.keep_alive_once()
    assert kept.time_to_live(keys=True).keys == (f"{key}kept".encode(),)
    assert kept.keep_alive_once().ttl_s == 2 and kept.id in client.leases().ids
    with pytest.raises(TimedOut):
        watcher.recv(timeout_s=2.5)
    Lease(clients(), kept.id, kept.ttl_s).revoke()  # somebody else
    assert watcher.recv().kv.key_text == key + "kept"
    until(lambda: not kept.is_kept)


def test_a_lease_runs_out_when_its_client_is_closed(clients, client, key):
    other = clients()
    other.put(key, lease=other.lease(2).keep_alive())
    watcher = client.watch(key)
    other.close()
    assert watcher.recv(timeout_s=10).type == "delete"


# Upkeep and members -----------------------------------------------------------------------------


def test_room_is_given_back(client, key):
    for _ in range(20):
        last = client.put(key, "x" * (100 << 10))
    client.compact(last.header.revision, physical=True)
    before = client.status().db_bytes
    assert client.defragment().freed_bytes > 0
    assert client.status().db_bytes < before


def test_a_member_comes_and_goes(one, client):
    url = f"http://127.0.0.1:{2000 + next(_numbers)}"
    added = client.add_member(learner=True, peer_urls=url).members
    learner = next(member for member in added if url in member.peer_urls)
    assert learner.learner and learner.name == "" and len(added) == 2
    with pytest.raises(RequestError, match="in sync with leader"):
        client.promote_member(url)
    with pytest.raises(MemberNotFound, match="the members are"):
        client.remove_member("n77")
    assert len(client.remove_member(f"{learner.id:x}").members) == 1
    assert [member.name for member in client.members().members] == ["n1"]
    with pytest.raises(RequestError):
        client.promote_member("n1")


# Who asks ---------------------------------------------------------------------------------------


def ask_auth(endpoint: str, *messages, token: str = ""):
    """Requests of the Auth service, which the client has no words for."""
    metadata = (("token", token),) if token else ()
    with grpc.insecure_channel(endpoint) as channel:
        for message in messages:
            name = type(message).__name__.removesuffix("Request")
            name = name if name in ("AuthEnable", "Authenticate") else name.removeprefix("Auth")
            _, answer, *_ = rpc_pb2.FILE.methods[path := f"/etcdserverpb.Auth/{name}"]
            ask = channel.unary_unary(path, type(message).SerializeToString, answer.FromString)
            reply = ask(message, timeout=10, metadata=metadata)
    return reply


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_that_wants_to_know_who_asks(fresh, kind):
    members = fresh(kind, 1)
    endpoint = members.endpoint("n1")
    users = [
        rpc_pb2.AuthUserAddRequest(name=name, password=f"{name}'s") for name in ("root", "ann")
    ]
    permission = auth_pb2.Permission(permType=2, key=b"ann/", range_end=b"ann0")
    ask_auth(
        endpoint,
        *users,
        rpc_pb2.AuthRoleAddRequest(name="root"),
        rpc_pb2.AuthRoleAddRequest(name="own"),
        rpc_pb2.AuthRoleGrantPermissionRequest(name="own", perm=permission),
        rpc_pb2.AuthUserGrantRoleRequest(user="root", role="root"),
        rpc_pb2.AuthUserGrantRoleRequest(user="ann", role="own"),
        rpc_pb2.AuthEnableRequest(),
    )
    nobody = connect(endpoint, write=True)
    with pytest.raises(RequestError, match="user name is empty"):
        nobody.get("ann/")
    with pytest.raises(RequestError, match="invalid user ID or password"):
        connect(endpoint, user="ann", password="guess").get("ann/")
    ann = connect(endpoint, write=True, user="ann", password="ann's")
    watcher = ann.watch("ann/", prefix=True)
    ann.put("ann/1", "v")
    assert ann.get("ann/1").text == "v" and watcher.recv().kv.text == "v"
    for forbidden in (lambda: ann.get("bob/"), lambda: ann.put("bob/", "v")):
        with pytest.raises(RequestError, match="permission denied") as caught:
            forbidden()
        assert caught.value.code == "PERMISSION_DENIED"
    refused = ann.watch("bob/")
    with pytest.raises(RequestError):
        refused.recv()
    lease = ann.lease(3).keep_alive()
    ann.put("ann/2", lease=lease)
    members.crash("n1")  # and with it all tokens
    members.restart("n1")
    ann.timeout_s = 20.0
    ann.put("ann/3", "again")
    while (told := watcher.recv(timeout_s=20).kv).key != b"ann/3":
        pass
    assert told.text == "again"
    until(lambda: 0 < lease.time_to_live().ttl_s <= 3)
    assert lease.is_kept
    for client in (nobody, ann):
        client.close()


# Recipes ----------------------------------------------------------------------------------------


def test_one_at_a_time_holds_a_lock(clients, key):
    inside, most, total = [], [], [0]

    def worker():
        client = clients()
        lock = Lock(client, key + "lock", ttl_s=5)
        for _ in range(5):
            with lock:
                inside.append(1)
                most.append(len(inside))
                kv = client.get(key + "sum").kv
                client.put(key + "sum", str(int(kv.text if kv else 0) + 1))
                total[0] += 1
                inside.pop()

    with together(*[worker] * 4):
        pass
    assert max(most) == 1 and total == [20]
    assert clients().get(key + "sum").text == "20"


def test_so_many_hold_a_semaphore(clients, key):
    inside, most = [], []

    def worker():
        semaphore = Semaphore(clients(), key + "room", n=2, ttl_s=5)
        for _ in range(3):
            assert semaphore.acquire(timeout_s=20)
            inside.append(1)
            most.append(len(inside))
            inside.pop()
            semaphore.release()

    with together(*[worker] * 4):
        pass
    assert max(most) <= 2


def test_a_lock_passes_on_when_its_holder_is_gone(clients, key):
    holder, heir = clients(), Lock(clients(), key + "lock", ttl_s=5)
    lock = Lock(holder, key + "lock", ttl_s=2)
    assert lock.try_acquire() and not heir.try_acquire()
    token = lock.token
    holder.close()
    assert heir.acquire(timeout_s=15) and heir.token > token


def test_one_leads_and_all_see_it(clients, key):
    ann, bob = (Election(clients(), key + "boss", ttl_s=5) for _ in range(2))
    seen: list[str] = []
    leaders = Election(clients(), key + "boss").observe()

    def look():
        while seen[-1:] != ["bob"]:
            seen.extend(kv.text for kv in leaders.wait(timeout_s=20))

    assert ann.campaign("ann")
    with together(look, lambda: bob.campaign("bob", timeout_s=20)):
        until(lambda: seen == ["ann"])
        ann.proclaim("ann, still")
        until(lambda: "ann, still" in seen)
        with pytest.raises(ElectionNotLeader):
            bob.proclaim("me!")
        assert ann.is_leader() and ann.resign()
    assert bob.is_leader() and seen == ["ann", "ann, still", "bob"]
    leaders.close()


def test_barriers_hold_everybody_up(clients, key):
    gate, passed = Barrier(clients(), key + "gate"), []
    gate.hold()
    with pytest.raises(KeyExists):
        Barrier(clients(), key + "gate").hold()

    def waits():
        Barrier(clients(), key + "gate").wait(timeout_s=20)
        passed.append("gate")

    def meets():
        both = DoubleBarrier(clients(), key + "meeting", 3, ttl_s=10)
        assert both.enter(timeout_s=20)
        passed.append("in")
        assert both.leave(timeout_s=20)
        passed.append("out")

    with together(waits, waits, meets, meets, meets):
        until(lambda: passed.count("in") == 3 and passed.count("out") == 3)
        assert "gate" not in passed
        gate.release()
    assert passed.count("gate") == 2


def test_services_are_found_while_they_live(clients, key):
    server, view = clients(), Registry(clients(), key + "services").discover("web")
    other = Registry(clients(), key + "services").register("web", "10.0.0.2:80", ttl_s=5)
    Registry(server, key + "services").register("web", "10.0.0.1:80", ttl_s=2)
    assert view.wait(lambda v: len(v.addresses) == 2, timeout_s=10)
    server.close()
    assert view.wait(lambda v: len(v.addresses) == 1, timeout_s=15) == ("10.0.0.2:80",)
    other.deregister()
    assert view.wait(lambda v: not v.addresses, timeout_s=10) == ()


def test_transactional_memory_loses_no_update(clients, key):
    names = [f"{key}{n}" for n in range(2)]

    def move():
        stm = Stm(clients())
        for _ in range(10):

            def step(draft):
                low, high = (int(draft.text(name, "0")) for name in names)
                draft.put(names[0], str(low - 1)), draft.put(names[1], str(high + 1))

            stm(step)

    with together(*[move] * 3):
        pass
    assert [clients().get(name).text for name in names] == ["-30", "30"]


def test_an_informer_keeps_a_copy(clients, key):
    client, informer = clients(), Informer(clients(), key)
    client.put(key + "a", "1")
    informer.wait(lambda i: key + "a" in i, timeout_s=10)
    numbers = range(100)

    def write():
        for number in numbers:
            client.put(f"{key}{number % 7}", str(number))
        client.delete(key + "0")
        client.put(key + "end", "")

    with together(write):
        informer.wait(lambda i: key + "end" in i, timeout_s=20)
    now = client.get(key, prefix=True)
    assert informer.cache == {kv.key: kv for kv in now.kvs} and informer.lists == 1
    assert informer.replace(key + "1", "new") and not informer.replace(key + "1", "late")


def test_a_job_goes_on_where_it_was(clients, key):
    first, then = clients(), Checkpoint(clients(), key + "job", ttl_s=5)
    job = Checkpoint(first, key + "job", ttl_s=2)
    assert job.claim() and job.progress is None
    job.save({"page": 3})
    for lease in first.leases().ids:  # the worker sleeps
        first.channel.unkeep(lease)
    assert then.claim(timeout_s=15) and then.progress == {"page": 3}
    with pytest.raises(Fenced):
        job.save({"page": 2})
    then.save({"page": 4})
    assert then.is_ours() and not job.is_ours()


# Three members ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=KINDS)
def three(request):
    """Three members that the tests of this part share; each leaves them as it found them."""
    members = start(request.param, 3)
    yield members
    members.close()


def test_a_watch_goes_on_when_its_member_dies(three, key):
    serving = three.names[0]
    with three.client(serving) as client:
        until(lambda: client.status().leader)  # else the watch would turn to another at once
    with three.client() as client, connect(three.endpoints) as reader:
        watcher = reader.watch(key)
        client.put(key, "1")
        assert watcher.recv().kv.text == "1"
        three.crash(serving)
        try:
            client.timeout_s = 20.0
            for number in range(2, 6):
                put_surely(client, key, number)
            assert [int(watcher.recv(20).kv.text) for _ in range(4)] == [2, 3, 4, 5]
            assert watcher.resumed >= 1
        finally:
            three.restart(serving)


def put_surely(client, key, number):
    """Put, and look whether it was done when nobody says so."""
    while True:
        try:
            client.put(key, str(number))
            return
        except TimedOut:
            kv = client.get(key).kv
            if kv is not None and kv.text == str(number):
                return


def test_what_was_acknowledged_is_there_when_the_leader_dies(three, key):
    leader, acknowledged, open_ = three.wait_for_leader(), [], []
    stop = threading.Event()

    def write(name):
        with three.client(timeout_s=3.0) as client:
            for number in count():
                if stop.is_set():
                    return
                one = f"{key}{name}/{number}"
                try:
                    client.put(one, one)
                    acknowledged.append(one)
                except (TimedOut, Unavailable):
                    open_.append(one)

    with together(*(lambda name=name: write(name) for name in "abc")):
        until(lambda: len(acknowledged) > 50)
        three.crash(leader)
        before = len(acknowledged)
        until(lambda: len(acknowledged) > before + 50)
        stop.set()
    three.restart(leader)
    with three.client(timeout_s=10.0) as client:
        there = {kv.key_text for kv in client.get(key, prefix=True, keys_only=True).kvs}
    assert set(acknowledged) <= there <= {*acknowledged, *open_}
    assert len(open_) < 20, "most writes know their fate"


def test_a_paused_member_is_left_for_another(three, key):
    first = three.names[0]
    with connect(three.endpoints, write=True, timeout_s=15.0) as client:
        put_surely(client, key, 1)
        three.pause(first)
        try:
            assert client.get(key).text == "1"
            put_surely(client, key, 2)
            assert client.get(key).text == "2"
        finally:
            three.resume(first)


def test_a_lease_is_kept_when_its_member_dies(three, key):
    with three.client(timeout_s=20.0) as client:
        lease = client.lease(3).keep_alive()
        client.put(key, lease=lease)
        three.crash(three.names[0])
        try:
            watcher = client.watch(key)
            with pytest.raises(TimedOut):
                watcher.recv(timeout_s=5.0)
            assert lease.is_kept and client.get(key).kvs
        finally:
            three.restart(three.names[0])


def test_another_member_is_asked_to_lead(three):
    leader = three.wait_for_leader()
    other = next(name for name in three.names if name != leader)
    with three.client(timeout_s=10.0) as client:
        client.move_leader(other)
        until(lambda: three.leader == other)


def test_all_members_have_the_same_history(three, key):
    with three.client() as client:
        at = client.put(key, "v").header.revision
    hashes = set()
    for name in three.names:
        with three.client(name) as client:
            client.get(key)  # it has applied what was acknowledged
            hashes.add(client.hash_kv(at).hash)
    assert len(hashes) == 1
