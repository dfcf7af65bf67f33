"""Hand-written traces with a bit of everything, for the tests of pictures."""

from kvlearn import events as ev
from kvlearn.raft import messages as m
from kvlearn.raft.confchange import Change, ConfChange
from kvlearn.raft.types import ZERO, ConfState, Entry, EntryID
from kvlearn.trace import Trace

THREE = ("n1", "n2", "n3")
FIVE = ("n1", "n2", "n3", "n4", "n5")


def start(trace, *names, time=0.0, **fields):
    """The nodes come up as followers."""
    for name in names:
        told = dict(term=0, vote=None, entries=(), commit=0, applied=0, members=THREE, boot=1)
        told |= {"tick_s": 0.1, **fields}
        trace.add(time, name, ev.Started(**told), None)
        trace.add(time, name, ev.BecameFollower(told["term"], None, 10, "STARTED"), None)


class Wire:
    """Sends messages into a trace, number by number."""

    def __init__(self, trace, way_s=0.01):
        self.trace, self.way_s, self.packets = trace, way_s, 0

    def send(self, time, message, cause=None, way_s=None, fate=""):
        """A message leaves; returns what `arrive` needs."""
        self.packets += 1
        arrives = time + (way_s or self.way_s)
        sent = ev.Sent(message, self.packets, arrives, fate)
        return arrives, message, self.packets, self.trace.add(time, message.source, sent, cause)

    def arrive(self, flight):
        """It is received; returns the record's number."""
        arrives, message, number, sent = flight
        return self.trace.add(arrives, message.target, ev.Received(message, number), sent)

    def lose(self, flight, reason="LOST"):
        arrives, message, number, sent = flight
        lost = ev.Dropped(
            message, number, reason, (("source", message.source), ("target", message.target))
        )
        return self.trace.add(arrives, message.target, lost, sent)


def elect(trace, name, peers, term, time, last=ZERO, silent=()):
    """`name` becomes leader of `term` by the votes of `peers`; those in `silent` hear nothing."""
    wire = Wire(trace)
    wire.packets = 100_000 * term
    began = trace.add(time, name, ev.BecameCandidate(term, last, 12, 10), None)
    asks = [
        wire.send(time, m.RequestVote(name, p, term, last), began, 0.01 + k / 500)
        for k, p in enumerate((*peers, *silent))
    ]
    answers = []
    for ask, peer in zip(asks, peers):
        got = wire.arrive(ask)
        trace.add(
            ask[0],
            peer,
            ev.BecameFollower(
                term,
                None,
                15,
                "HIGHER_TERM",
                (("source", name), ("theirs", term), ("mine", term - 1)),
            ),
            got,
        )
        yes = trace.add(ask[0], peer, ev.VoteGranted(term, name), got)
        answers.append(wire.send(ask[0], m.VoteResponse(peer, name, term, True), yes, 0.02))
    for flight, peer in zip(asks[len(peers) :], silent):
        wire.lose(flight, "DOWN")
    for flight in answers:
        began = wire.arrive(flight)
    end = answers[-1][0]
    trace.add(end, name, ev.BecameLeader(term, (name, *peers), last), began)
    trace.add(end, name, ev.Appended((Entry(last.index + 1, term),)), began)
    return end


def replicate(trace, wire, leader, peers, entries, time, prev, commit, lost=()):
    """The leader appends entries, sends them, hears the answers, commits and applies."""
    term = entries[0].term
    cause = trace.add(time, leader, ev.Appended(entries), None)
    last = entries[-1].index
    flights = [
        wire.send(
            time,
            m.AppendEntries(leader, p, term, prev, entries, commit),
            cause,
            0.008 + k * 0.003,
            "LOST" if p in lost else "",
        )
        for k, p in enumerate(peers)
    ]
    trace.add(time + 0.004, leader, ev.Saved(term, leader, commit, entries[0].index, last), cause)
    answers = []
    for flight, peer in zip(flights, peers):
        if peer in lost:
            wire.lose(flight)
            continue
        got = wire.arrive(flight)
        trace.add(flight[0], peer, ev.Appended(entries), got)
        trace.add(flight[0], peer, ev.Saved(term, leader, commit, entries[0].index, last), got)
        answers.append(wire.send(flight[0], m.AppendResponse(peer, leader, term, last), got, 0.02))
    for number, flight in enumerate(answers):
        got = wire.arrive(flight)
        told = ev.Progressed(flight[1].source, "replicate", last, last + 1)
        trace.add(flight[0], leader, told, got)
        if number + 2 == (len(peers) + 1) // 2 + 1:
            trace.add(flight[0], leader, ev.Committed(last, term, entries[0].index - 1), got)
            for entry in entries:
                trace.add(
                    flight[0], leader, ev.Applied(entry.index, term, entry.data, entry.index), got
                )
    return answers[-1][0]


def put(index, term, text):
    return Entry(index, term, f"put {text}")


def three():
    """Three nodes, an election, one put committed, its client answered."""
    trace, wire = Trace(seed=7), None
    start(trace, *THREE)
    end = elect(trace, "n1", ("n2", "n3"), 1, 1.0)
    wire = Wire(trace)
    trace.add(1.2, "c1", ev.Invoked(1, "n1", "put a=1"), None)
    entries = (Entry(1, 1), put(2, 1, "a=1"))
    end = replicate(trace, wire, "n1", ("n2", "n3"), entries, 1.2, ZERO, 0)
    trace.add(end, "c1", ev.Returned(1, "n1", "ok", 2), len(trace) - 1)
    return trace


def five(term=1):
    """Five nodes under a leader, entries on their way, one packet that will be lost."""
    trace = Trace(seed=1)
    start(trace, *FIVE, members=FIVE)
    elect(trace, "n3", ("n1", "n2", "n4", "n5"), term, 1.0)
    wire = Wire(trace)
    others = ("n1", "n2", "n4", "n5")
    entries = (Entry(1, term), put(2, term, "a=1"), put(3, term, "b=2"))
    replicate(trace, wire, "n3", others, entries, 1.2, ZERO, 0)
    more = (put(4, term, "colour=blue"), put(5, term, "x=1"))
    cause = trace.add(1.4, "n3", ev.Appended(more), None)
    prev = EntryID(term, 3)
    for k, peer in enumerate(others):
        fate = "LOST" if peer == "n4" else ""
        wire.send(
            1.4, m.AppendEntries("n3", peer, term, prev, more, 3), cause, 0.02 + k / 200, fate
        )
    got = wire.send(1.402, m.AppendResponse("n1", "n3", term, 3), None, 0.03)
    wire.send(1.402, m.ForwardProposal("n2", "n3", 0, "put y=2"), None, 0.02)
    trace.add(1.412, "n5", ev.Committed(3, term, 0), got[3])
    return trace


def trouble():
    """Five nodes: a partition, a candidate in the minority, one down, one paused leader."""
    trace = five()
    wire = Wire(trace)
    wire.packets = 500
    trace.add(1.5, "n2", ev.Crashed(3), None)
    minority, rest = ("n4", "n5"), ("n1", "n2", "n3")
    links = tuple(
        (a, b) for one, two in ((minority, rest), (rest, minority)) for a in one for b in two
    )
    trace.add(1.6, "", ev.LinksCut(links, "partition (n4 n5) (n1 n2 n3)"), None)
    trace.add(1.7, "n3", ev.Paused(), None)
    began = trace.add(2.0, "n4", ev.BecameCandidate(2, EntryID(1, 3), 12, 10), None)
    for peer in ("n1", "n2", "n3"):
        ask = m.RequestVote("n4", peer, 2, EntryID(1, 3))
        wire.send(2.0, ask, began, 0.02, "CUT")
    ask = wire.send(2.0, m.RequestVote("n4", "n5", 2, EntryID(1, 3)), began, 0.01)
    wire.arrive(ask)
    no = wire.send(2.01, m.VoteResponse("n5", "n4", 2, False), None, 0.004)
    wire.arrive(no)
    return trace


def long_logs(entries=140, peers=("n2", "n3"), behind=None):
    """A leader of term 9 with a long log; n3 is far behind and its log differs at its end."""
    trace = Trace(seed=2)
    log = tuple(
        Entry(k, 1 + k // 18, f"put key-{k:03d}={'long value ' * (k % 3)}{k}")
        for k in range(1, entries + 1)
    )
    told = dict(term=8, vote="n1", commit=entries - 3, applied=entries - 4, members=("n1", *peers))
    start(trace, "n1", "n2", entries=log, **told)
    short = log[: behind or 12] + (Entry((behind or 12) + 1, 3, "put stray=1"),)
    start(trace, "n3", entries=short, **{**told, "commit": 4, "applied": 4})
    end = elect(trace, "n1", peers, 9, 1.0, log[-1].id)
    trace.add(end, "n1", ev.Progressed("n2", "replicate", entries, entries + 2), None)
    trace.add(end, "n1", ev.Progressed("n3", "probe", 0, 14), None)
    return trace


def seven():
    """Seven nodes in term 12, two learners, one link cut in one direction."""
    names = tuple(f"n{k}" for k in range(1, 8))
    trace = Trace()
    start(trace, *names, members=names, learners=("n6", "n7"), term=11)
    elect(trace, "n2", ("n1", "n3", "n4", "n5"), 12, 1.0)
    trace.add(1.3, "", ev.LinksCut((("n2", "n4"),), ""), None)
    wire = Wire(trace)
    wire.packets = 900
    for k, peer in enumerate(n for n in names if n != "n2"):
        fate = "CUT" if peer == "n4" else ""
        wire.send(1.3, m.Heartbeat("n2", peer, 12, 0), None, 0.02 + k / 250, fate)
    for peer in ("n1", "n3"):
        wire.send(1.304, m.HeartbeatResponse(peer, "n2", 12), None, 0.02)
    trace.add(1.308, "n1", ev.Received(m.Heartbeat("n5", "n1", 3, 0), 77), None)
    return trace


def joint():
    """n1 leads in a joint configuration of new (n2 n3 n4) and old (n1 n2 n3), with the learner n5.

    n4 came later and gets a snapshot in parts, n6 is no member, n3 asks for pre-votes, and n1
    hands its leadership to n2. All logs but n4's begin after 12@1.
    """
    trace = Trace(seed=3)
    entries = (put(13, 1, "a=1"), Entry(14, 1, ConfChange((Change("n4"), Change("n1", "gone")))))
    told = dict(base=EntryID(1, 12), entries=entries, commit=14, applied=14, term=1)
    start(trace, *THREE, **told)
    end = elect(trace, "n1", ("n2", "n3"), 2, 1.0, EntryID(1, 14))
    start(trace, "n4", "n6", time=2.0)
    start(trace, "n5", time=2.0, members=(*THREE, "n5"), learners=("n5",))
    conf = ConfState(("n2", "n3", "n4"), THREE, ("n5",))
    for name in THREE:
        trace.add(2.1, name, ev.ConfChanged(conf), None)
    wire, last = Wire(trace), EntryID(1, 12)
    wire.packets = 700
    trace.add(2.2, "n1", ev.Progressed("n4", "snapshot", 0, 1), None)
    for offset in (0, 2, 4):
        chunk = m.InstallSnapshot("n1", "n4", 2, last, ConfState(THREE), offset, ("x", "y"), 6)
        flight = wire.send(end + 1.2 + offset / 50, chunk)
        if offset < 4:
            wire.arrive(flight)
            if not offset:
                heard = ev.BecameFollower(
                    2, "n1", 12, "LEADER_HEARD", (("source", "n1"), ("term", 2))
                )
                trace.add(flight[0], "n4", heard, None)
    time = trace[-1].time
    trace.add(time, "n1", ev.TransferStarted("n2", 13, 15), None)
    asked = trace.add(time, "n3", ev.AskedPreVote(3, EntryID(1, 14), 12, 11), None)
    wire.send(time, m.RequestVote("n3", "n2", 3, EntryID(1, 14), True), asked)
    answer = wire.send(time, m.VoteResponse("n4", "n3", 3, True, True), None, 0.001)
    wire.arrive(answer)
    return trace
