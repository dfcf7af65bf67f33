"""Runs of real state machines and watch hubs, told as a trace: what the store's pictures show.

A `Run` is a few nodes without Raft between them: each entry is carried out by the machine of every
node that is up, the leader's first, and what its watch hub says is handed over at once.
"""

from __future__ import annotations

from kvlearn import events as ev
from kvlearn.kv.leases import Compact, LeaseCheckpoint, LeaseGrant, LeaseKeepAlive, LeaseRevoke
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Command, DeleteRange, Put, Range, prefix_end
from kvlearn.kv.txn import Compare, Txn
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.watch import WatchHub
from kvlearn.raft.types import EntryID
from kvlearn.trace import Trace


class Run:
    def __init__(self, *names: str, hub: type[WatchHub] = WatchHub, capacity: int = 128):
        self.trace, self.now, self.index, self.term = Trace(), 0.0, 0, 0
        self.names = names or ("n1", "n2", "n3")
        self.hub, self.capacity = hub, capacity
        self.machines, self.hubs, self.streams, self.log = {}, {}, {}, []
        self.leader, self.rates, self.op = None, {}, 0
        for name in self.names:
            self.start(name)
        self.elect(self.names[0])

    def tell(self, node, event):
        self.now = round(self.now + 0.001, 6)
        return self.trace.add(self.now, node, event, None)

    def start(self, name):
        machine = self.machines[name] = KVMachine(MemoryBackend())
        self.hubs[name] = self.hub(machine.store, capacity=self.capacity)
        rest = (self.names, 1, 0.1)
        self.tell(name, ev.Started(self.term, None, (), 0, 0, *rest, revision=1))

    def wait(self, seconds):
        """Time goes by; leases that run out are ended by the leader."""
        end = round(self.now + seconds, 6)
        while True:
            lessor = self.machines[self.leader].lessor if self.leader else None
            due = lessor.next_expiry_s if lessor else float("inf")
            if due > self.clock(end):
                break
            self.now = round(max(self.now, due / self.rates.get(self.leader, 1.0)), 6)
            for id in lessor.expired(due):
                self.tell(self.leader, ev.LeaseExpired(id, lessor.leases[id].ttl_s))
                self.enter(LeaseRevoke(id), op_id=0)
        self.now = max(self.now, end)

    def clock(self, now):
        return now * self.rates.get(self.leader, 1.0)

    def elect(self, name):
        self.term += 1
        self.leader = name
        self.tell(name, ev.BecameLeader(self.term, (name,), EntryID(self.term, self.index)))
        self.enter(None)
        lessor = self.machines[name].lessor
        now = self.clock(self.now)
        lessor.promote(now)
        left = tuple((id, lessor.remaining(id, now)) for id in sorted(lessor.leases))
        self.tell(name, ev.LeasesCounted(self.term, left))

    def crash(self, name):
        self.tell(name, ev.Crashed(self.index))
        del self.machines[name], self.hubs[name]
        if name == self.leader:
            self.leader = None

    def enter(self, request, op_id=None):
        """One more log entry, carried out wherever a node is up; returns the leader's result."""
        self.index += 1
        self.op += 1
        op_id = self.op if op_id is None else op_id
        command = None if request is None else Command(self.leader, op_id, request)
        self.log.append((self.index, self.term, command))
        first = None
        for name in sorted(self.machines, key=lambda name: name != self.leader):
            answer = self.carry_out(name, *self.log[-1])
            first = first or answer
        return first

    def carry_out(self, name, index, term, command):
        machine, hub = self.machines[name], self.hubs[name]
        result, error = machine.apply(index, term, command)
        refused = error.text if error else ""
        self.tell(name, ev.Applied(index, term, command, machine.revision, refused))
        if command and isinstance(command.request, LeaseGrant) and name == self.leader:
            machine.lessor.started(command.request.id, self.clock(self.now))
        hub.notify(machine.changes)
        while machine.store.sweeping:
            machine.store.sweep()
        self.hand_out(name)
        return result, error

    def hand_out(self, name):
        for stream, node in self.streams.items():
            if node == name:
                for response in self.hubs[name].take(stream):
                    self.tell(name, ev.Notified(stream, response))

    # What clients do ----------------------------------------------------------------------

    def put(self, key, value="", lease=0):
        return self.enter(Put(_bytes(key), _bytes(value), lease))

    def delete(self, key, prefix=False):
        key = _bytes(key)
        return self.enter(DeleteRange(key, prefix_end(key) if prefix else b""))

    def keep_alive(self, id):
        machine = self.machines[self.leader]
        result = machine.ask_lessor(LeaseKeepAlive(id), self.clock(self.now))
        self.tell(self.leader, ev.LeaseRenewed(id, result.ttl_s))

    def watch(self, stream, node, key, prefix=False, sync=True, **more):
        key = _bytes(key)
        request = WatchCreate(key, prefix_end(key) if prefix else b"", **more)
        hub = self.hubs[node]
        self.streams[stream] = node
        self.tell(node, ev.WatchAsked(stream, request, hub.store.revision))
        hub.create(
            stream, request.key, request.range_end, request.start_revision, request.watch_id,
            request.prev_kv, request.filters, request.progress_notify, request.fragment,
        )  # fmt: skip
        self.hand_out(node)
        if sync:
            self.sync(node)

    def sync(self, node):
        self.hubs[node].sync()
        self.hand_out(node)

    def ask_progress(self, stream):
        node = self.streams[stream]
        self.tell(node, ev.WatchAsked(stream, WatchProgress(), self.hubs[node].store.revision))
        self.hubs[node].request_progress(stream)
        self.hand_out(node)

    def cancel(self, stream, watch_id=0):
        node = self.streams[stream]
        asked = WatchCancel(watch_id)
        self.tell(node, ev.WatchAsked(stream, asked, self.hubs[node].store.revision))
        self.hubs[node].cancel(stream, watch_id)
        self.hand_out(node)

    def hold(self, stream):
        """The stream's client takes nothing for now."""
        self.hold_node = self.streams.pop(stream)

    def close(self, stream):
        node = self.streams.pop(stream)
        self.hubs[node].close(stream)
        self.tell(node, ev.StreamClosed(stream))


def _bytes(text):
    return text.encode() if isinstance(text, str) else text


# Scenes -------------------------------------------------------------------------------------


def few():
    """Two revisions."""
    run = Run("n1")
    run.put("a", "1")
    run.put("a", "2")
    return run


def shop():
    """Some fifteen revisions in two terms: transactions, a lease, a deletion, a compaction."""
    run = Run()
    run.put("stock", "5")
    run.put("colour", "blue")
    run.put("stock", "4")
    run.enter(LeaseGrant(10, 0x7B))
    run.put("cart/ann", "2 lamps", 0x7B)
    run.delete("colour")
    run.put("colour", "green")
    run.crash("n1")
    run.wait(1.5)
    run.elect("n2")
    compare = (Compare(b"stock", "value", "greater", b"0"), Compare(b"order/1", operand=0))
    then = (Put(b"stock", b"3"), Put(b"order/1", "ann".encode()))
    run.enter(Txn(compare, then, (Range(b"stock"),)))
    run.enter(Txn(compare, then, (Range(b"stock"), Put(b"refused", b"1"))))
    run.put("colour", "red")
    run.enter(Compact(9))
    run.put("stock", "9")
    run.delete("colour")
    run.put("cart/bob", "1 chair")
    return run


def long(count=60, keys=7):
    """Sixty revisions of seven keys, some deleted again and again, compacted twice."""
    run = Run("n1", "n2")
    for number in range(count):
        key = f"key{number * number % keys}"
        if number % 11 == 10:
            run.delete(key) if run.machines["n1"].store.get(key.encode()) else run.put(key, "x")
        else:
            run.put(key, f"v{number}")
        if number == count // 3:
            run.enter(Compact(run.machines["n1"].revision - 5))
        if number == count // 2:
            run.elect("n2")
    run.enter(Compact(run.machines["n2"].revision - 12))
    return run


def strange():
    """Long keys, keys that are no text, markup, many keys and values of all kinds."""
    run = Run("n1")
    run.put("jobs/2026-11-22/eu-central/render/frame-000017", "x" * 300)
    run.put("jobs/2026-11-22/eu-central/render/frame-000018", "")
    run.put("schlüssel/größe", "Übergröße XXL")
    run.put("漢字/キー", "値は長い文字列です")
    run.put(b"\xff\x00\x1b", b"\x1b[31m")
    run.put('<b>"&', "</svg><script>alert(1)</script>")
    for number in range(12):
        run.put(f"many/{number:02}", f"{number}")
    run.delete("many/", prefix=True)
    for number in range(6):
        run.put(f"many/{number:02}", f"again {number}")
    return run


def watched():
    """Eight watches: synced, filtered, behind, resumed, compacted, cancelled, refused, waiting."""
    run = Run()
    for number in range(4):
        run.put("a", f"{number}")
    run.put("b", "1")
    run.watch("c1/w1", "n2", "a", start_revision=2)
    run.watch("c1/w2", "n2", "a", prefix=True, filters=("delete",))
    run.watch("c2/w1", "n3", "b")
    run.watch("c2/w2", "n1", "b", start_revision=3, sync=False)
    run.enter(Compact(5))
    run.watch("c3/w1", "n1", "a", start_revision=2)
    run.put("b", "2")
    run.delete("a")
    run.watch("c3/w2", "n2", "b", prefix=True, start_revision=6)
    run.hold("c3/w2")
    run.put("a", "again")
    run.crash("n3")
    run.put("b", "3")
    run.watch("c4/w1", "n2", "zz", prefix=False)
    run.ask_progress("c4/w1")
    run.cancel("c1/w1")
    run.watch("c2/w1", "n2", "b", start_revision=8)
    run.put("b", "4")
    run.watch("c5/w1", "n1", "b", start_revision=14)
    run.hold("c2/w2")
    run.delete("b")
    run.put("a", "end")
    return run


def leased(many=10):
    """Ten leases: kept alive, expired, revoked, counted anew, with many keys and none."""
    run = Run()
    for number in range(many):
        run.enter(LeaseGrant(5 + 4 * number, 0x10 + number))
    run.put("service/a", "10.0.0.1", 0x11)
    run.put("service/b", "10.0.0.2", 0x11)
    run.put("lock/nightly", "me", 0x12)
    for number in range(9):
        run.put(f"session/{number}", "x", 0x13)
    run.put("gone", "x", 0x10)
    for _ in range(4):
        run.wait(2.0)
        run.keep_alive(0x12)
    run.wait(1.0)
    run.enter(LeaseRevoke(0x15))
    run.enter(LeaseCheckpoint(((0x19, 20),)))
    run.crash("n1")
    run.wait(1.5)
    run.elect("n3")
    run.wait(3.0)
    run.keep_alive(0x12)
    run.wait(1.2)
    return run


def crowded():
    """Too much of everything: 90 revisions, 20 watches, 16 leases with long names, many terms."""
    run = Run("a-node-of-the-north", "n2", "节点")
    run.watch("a-client-with-a-long-name/w1", "n2", "a-very-long-prefix/of/keys/", prefix=True)
    for number in range(16):
        run.enter(LeaseGrant(60 + number, 0x694D7B3B5A1C0000 + number))
        name = f"a-very-long-prefix/of/keys/and-more/{number:03}"
        run.put(name, f"value number {number}", 0x694D7B3B5A1C0000 + number)
    for number in range(18):
        run.watch(
            f"c{number}/w1", run.names[number % 3], "k", prefix=True, start_revision=2 + number
        )
    run.hold("c3/w1")
    for number in range(50):
        if number % 9 == 4:
            run.elect(run.names[number % 3])
        run.wait(0.4)
        run.keep_alive(0x694D7B3B5A1C0001)
        many = tuple(Put(b"k%d" % key, b"%d" % number) for key in range(number % 5 + 1))
        run.enter(Txn((), many))
    run.enter(LeaseRevoke(0x694D7B3B5A1C0002))
    run.enter(Txn((), (DeleteRange(b"k", b"l"),)))
    run.watch("late/w1", "n2", "\u6f22\u5b57" * 20, start_revision=500)
    return run
