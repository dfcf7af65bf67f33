"""Real members beside a real etcd and beside PySyncObj, in one run on one machine.

Three durable members each on the loopback. h2load (Debian: nghttp2-client) puts the load where it
can, because a client in Python costs more than the server; where answers have to be looked at, the
same client in Python asks both. Rounds take turns, and medians are compared.

    kvlearn bench live [--rounds 5]
"""

from __future__ import annotations

import multiprocessing
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from kvlearn.cli.bench_peers import KVLEARN, Members, etcd_program, pysyncobj_puts, until
from kvlearn.cli.environment import Stop

VALUE_BYTES = 256
PUTS = {64: 8_000, 256: 16_000}  # in flight -> requests a round
GETS = 10_000
SEQUENTIAL = 400
WATCHERS, STREAMS, WATCHED_PUTS = 100, 10, 300
HISTORY = 100_000  # revisions
KV, MAINTENANCE = "/etcdserverpb.KV/", "/etcdserverpb.Maintenance/"
Row = tuple[str, float, str, str]


class Client:
    """One connection to one member, for bytes that are ready made."""

    def __init__(self, endpoint: str):
        import grpc

        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self._channel = grpc.insecure_channel(endpoint, options)

    def ask(self, path: str, message: Any, answer: type, timeout_s: float = 5.0) -> Any:
        """One call. Raises: grpc.RpcError."""
        call = self._channel.unary_unary(path, None, answer.FromString)
        return call(message.SerializeToString(), timeout=timeout_s)

    def stream(self, path: str) -> Any:
        """A call of streams, to be called with an iterator of bytes."""
        return self._channel.stream_stream(path, None, None)

    def close(self) -> None:
        self._channel.close()


def _pb():
    from kvlearn.live.proto import rpc_pb2

    return rpc_pb2


def put_of(key: bytes = b"key", size: int = VALUE_BYTES) -> Any:
    """A PutRequest with a value of so many bytes."""
    return _pb().PutRequest(key=key, value=b"x" * size)


def status_of(members: Members, name: str) -> Any:
    """A member's status; None while it does not serve."""
    import grpc

    client = Client(members.endpoint(name))
    try:
        pb = _pb()
        return client.ask(MAINTENANCE + "Status", pb.StatusRequest(), pb.StatusResponse, 1.0)
    except grpc.RpcError:
        return None
    finally:
        client.close()


def leader_of(members: Members) -> str:
    """The name of the member that leads, once there is one."""

    def found() -> str | None:
        for name in members.processes:
            status = status_of(members, name)
            if status and status.leader and status.leader == status.header.member_id:
                return name
        return None

    return until(found, f"a leader of {members.command[0]}")


def h2load(members: Members, name: str, path: str, message: Any, flight: int, count: int) -> float:
    """Requests a second, so many in flight, all answered."""
    body = message.SerializeToString()
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\0" + len(body).to_bytes(4, "big") + body)
        file.flush()
        clients = max(flight // 64, 1)
        done = subprocess.run(
            ["h2load", "-n", str(count), "-c", str(clients), "-m", str(flight // clients),
             "-d", file.name, "-H", "content-type: application/grpc", "-H", "te: trailers",
             f"http://{members.endpoint(name)}{path}"],
            capture_output=True, text=True, timeout=300, check=True,
        ).stdout  # fmt: skip
    if f"{count} succeeded" not in done:
        raise Stop(f"h2load had errors:\n{done}")
    return float(re.search(r"([\d.]+) req/s", done).group(1))


def puts(members: Members, flight: int, count: int) -> float:
    """Replicated, durable puts a second at the leader; that all were done is checked."""
    leader = leader_of(members)
    before = status_of(members, leader).header.revision
    rate = h2load(members, leader, KV + "Put", put_of(), flight, count)
    done = status_of(members, leader).header.revision - before
    if done != count:
        raise Stop(f"{done} of {count} puts were carried out by {members.command[0]}")
    return rate


def gets(members: Members, serializable: bool) -> float:
    """Gets of one key a second, 64 in flight, at the leader."""
    request = _pb().RangeRequest(key=b"key", serializable=serializable)
    return h2load(members, leader_of(members), KV + "Range", request, 64, GETS)


def sequential_p50(members: Members) -> float:
    """Milliseconds of the median put, one after the other, by a client in Python."""
    client, pb, times = Client(members.endpoint(leader_of(members))), _pb(), []
    for k in range(SEQUENTIAL + 50):
        start = time.perf_counter()
        client.ask(KV + "Put", put_of(), pb.PutResponse)
        if k >= 50:
            times.append(time.perf_counter() - start)
    client.close()
    return statistics.median(times) * 1000


def watched(members: Members) -> float:
    """Events a second that come to watchers of what one writer writes; all have to come."""
    leader = leader_of(members)
    context = multiprocessing.get_context("spawn")
    ready, queue = context.Semaphore(0), context.Queue()
    readers = [
        context.Process(target=_read_events, args=(members.endpoint(leader), k, ready, queue))
        for k in range(2)
    ]
    for reader in readers:
        reader.start()
    try:
        for _ in range(STREAMS):
            if not ready.acquire(timeout=30):
                raise Stop("the watchers were not created within 30 s")
        client, pb, start = Client(members.endpoint(leader)), _pb(), time.time()
        for _ in range(WATCHED_PUTS):
            client.ask(KV + "Put", put_of(b"watched"), pb.PutResponse)
        ended = max(queue.get(timeout=60) for _ in readers)
        client.close()
    finally:
        for reader in readers:
            reader.kill()
            reader.join()
    return WATCHERS * WATCHED_PUTS / (ended - start)


def _read_events(endpoint: str, part: int, ready: Any, queue: Any) -> None:
    """Half of the streams, in a process of its own; tells when all events have come."""
    import threading

    pb = _pb()
    each = WATCHERS // STREAMS
    client = Client(endpoint)

    def follow() -> None:
        end = threading.Event()

        def asks():
            for _ in range(each):
                create = pb.WatchCreateRequest(key=b"watched")
                yield pb.WatchRequest(create_request=create).SerializeToString()
            end.wait()

        created = events = 0
        for data in client.stream("/etcdserverpb.Watch/Watch")(asks()):
            answer = pb.WatchResponse.FromString(data)
            created += answer.created
            if answer.created and created == each:
                ready.release()
            events += len(answer.events)
            if events == each * WATCHED_PUTS:
                break
        end.set()

    threads = [threading.Thread(target=follow) for _ in range(STREAMS // 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.put(time.time())


def failover(members: Members) -> float:
    """Seconds from the kill -9 of the leader to the first put that another member acknowledges."""
    import grpc

    leader = leader_of(members)
    other = next(name for name in members.processes if name != leader)
    client, pb = Client(members.endpoint(other)), _pb()
    client.ask(KV + "Put", put_of(), pb.PutResponse)
    start = time.perf_counter()
    members.kill(leader)
    while True:
        try:
            client.ask(KV + "Put", put_of(), pb.PutResponse, 0.3)
            break
        except grpc.RpcError:
            if time.perf_counter() - start > 30:
                raise Stop("no put was acknowledged within 30 s of the leader's end") from None
    spent = time.perf_counter() - start
    client.close()
    members.start(leader)
    until(lambda: status_of(members, leader), f"{leader} serves again")
    return spent


def restart(members: Members, name: str) -> float:
    """Seconds from the start of a process to its first right answer from its own state."""
    import grpc

    pb = _pb()
    members.kill(name)
    start = time.perf_counter()
    members.start(name)
    request = pb.RangeRequest(key=b"key", serializable=True)
    while True:
        client = Client(members.endpoint(name))
        try:
            answer = client.ask(KV + "Range", request, pb.RangeResponse, 1.0)
            if answer.header.revision >= HISTORY:
                return time.perf_counter() - start
        except grpc.RpcError:
            if time.perf_counter() - start > 60:
                said = members.log(name)[-2000:]
                raise Stop(f"{name} does not serve within 60 s:\n{said}") from None
        finally:
            client.close()
        time.sleep(0.005)


def in_turn(rounds: int, works: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The median of each work, done in turns."""
    taken: dict[str, list[float]] = {who: [] for who in works}
    for _ in range(rounds):
        for who, work in works.items():
            taken[who].append(work())
    return {who: statistics.median(found) for who, found in taken.items()}


def beside(what: str, unit: str, found: dict[str, float], goal: str) -> list[Row]:
    """Rows of a comparison: the peer, ours, and the ratio."""
    (peer, theirs), (_, ours) = found.items()
    return [
        (what, ours, unit, f"{peer}: {theirs:,.4g} {unit}"),
        ("  ratio", ours / theirs, "times", goal),
    ]


def bench_live(rounds: int) -> list[Row]:
    """Rows on real members. Raises: Stop if a program is missing."""
    etcd = etcd_program()
    if etcd is None or not shutil.which("h2load"):
        raise Stop("this needs etcd and h2load: apt-get install etcd-server nghttp2-client")
    version = subprocess.run([etcd, "--version"], capture_output=True, text=True).stdout
    peer = "etcd " + version.split()[2]
    rows: list[Row] = []
    with Members((etcd,)) as theirs, Members(KVLEARN) as ours:
        both = {peer: theirs, "kvlearn": ours}

        def compare(what: str, unit: str, work: Callable, goal: str, n: int = rounds) -> None:
            works = {who: partial(work, members) for who, members in both.items()}
            found = in_turn(n, works)
            rows.extend(beside(what, unit, found, goal))

        for flight, count in PUTS.items():
            work = partial(puts, flight=flight, count=count)
            compare(f"puts, {flight} in flight", "a second", work, "goal: at least 0.5")
        rows += _beside_pysyncobj(rounds, ours)
        compare("put, one after the other", "ms, p50", sequential_p50, "goal: at most 1.2")
        for kind in (False, True):
            what = f"{'serializable' if kind else 'linearizable'} gets, 64 in flight"
            work = partial(gets, serializable=kind)
            compare(what, "a second", work, "goal: at least 0.5")
        what = f"events to {WATCHERS} watchers on {STREAMS} streams"
        compare(what, "a second", watched, "goal: at least 0.5")
        compare("leader killed → first put", "s", failover, "goal: at most 0.3")
    return rows + _with_history(etcd, peer, rounds)


def _beside_pysyncobj(rounds: int, ours: Members) -> list[Row]:
    try:
        import pysyncobj  # noqa: F401
    except ImportError:
        return [("puts beside PySyncObj", 0.0, "", "left out: pip install pysyncobj")]
    works = {
        "PySyncObj": lambda: pysyncobj_puts(256, PUTS[256] // 8, VALUE_BYTES),
        "kvlearn": lambda: puts(ours, 256, PUTS[256] // 2),
    }
    found = in_turn(rounds, works)
    return beside("puts, 256 in flight", "a second", found, "goal: at least 3")


def _with_history(etcd: str, peer: str, rounds: int) -> list[Row]:
    """Rows on members that hold a long history."""
    spent: dict[str, float] = {}
    memory: dict[str, float] = {}
    for who, command in ((peer, (etcd,)), ("kvlearn", KVLEARN)):
        with Members(command) as members:
            for k in range(10):  # of ten keys each ten thousand revisions
                request = put_of(b"key%d" % k if k else b"key")
                leader = leader_of(members)
                h2load(members, leader, KV + "Put", request, 256, HISTORY // 10)
            name = next(name for name in members.names if name != leader_of(members))
            spent[who] = statistics.median(restart(members, name) for _ in range(rounds))
            sizes = [members.resident_bytes(n) for n in members.names if n != name]
            memory[who] = max(sizes) / (1 << 20)
    what = f"with {HISTORY:,} revisions: "
    rows = beside(what + "restart of a member", "s", spent, "goal: at most 2")
    return rows + beside(what + "memory of a member", "MiB", memory, "goal: at most 1.5")
