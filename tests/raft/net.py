"""Raft objects without hosts: one member to hold in the hand, or several and the wires between.

Everything is saved the moment it is ready and nothing moves by itself, so a test says who ticks,
who campaigns and which messages arrive.
"""

from collections.abc import Callable, Iterable
from random import Random

from kvlearn.errors import ConfChangeError
from kvlearn.events import Event
from kvlearn.raft import ConfState, Entry, HardState, Raft, RaftConfig, Ready
from kvlearn.raft.confchange import ConfChange
from kvlearn.raft.messages import Message, VoteResponse
from kvlearn.raft.types import ZERO, EntryID, Snapshot

CALM = RaftConfig(election_ticks=10, max_election_ticks=10)  # timeouts without chance


def entries_of(*terms: int) -> tuple[Entry, ...]:
    """A log with these terms; each entry's data names its place."""
    return tuple(Entry(k, term, f"{k}@{term}") for k, term in enumerate(terms, start=1))


def voters(size: int) -> ConfState:
    """n1 … nN, all of them voters."""
    return ConfState(tuple(f"n{k}" for k in range(1, size + 1)))


class Member:
    """A Raft, what it said (`said`), and a host that saves at once (`drive`)."""

    def __init__(
        self,
        id: str = "n1",
        conf: ConfState | int = 3,
        terms: Iterable[int] = (),
        term: int | None = None,
        vote: str | None = None,
        commit: int = 0,
        config: RaftConfig = CALM,
        raft: type[Raft] = Raft,
        seed: int = 0,
    ):
        conf = voters(conf) if isinstance(conf, int) else conf
        terms = tuple(terms)
        term = max(terms, default=0) if term is None else term
        self.said: list[Event] = []
        hard_state = HardState(term, vote, commit)
        rng, log = Random(f"{seed}/{id}"), entries_of(*terms)
        self.raft = raft(id, conf, config, rng, self.said.append, hard_state, log)
        self.disk = hard_state
        self.saved: list[Entry] = list(log)
        self.base: EntryID = ZERO  # the entry before the saved ones
        self.loaded: list[Snapshot] = []
        self.applied: list[Entry] = []
        self.reads: list = []

    def drive(self) -> list[Message]:
        """Do all that is ready; the messages that leave, oldest first."""
        sent: list[Message] = []
        while (ready := self.raft.ready()) is not None:
            sent += self.carry_out(ready)
        return sent

    def carry_out(self, ready: Ready) -> list[Message]:
        """The host's four lines, with a disk that takes no time."""
        self.disk = ready.hard_state or self.disk
        if ready.snapshot is not None:
            self.base, self.saved = ready.snapshot.last, []
            self.loaded.append(ready.snapshot)
        for entry in ready.entries:
            del self.saved[entry.index - 1 - self.base.index :]
            self.saved.append(entry)
        for entry in ready.committed:
            self.apply(entry)
        self.reads += ready.reads
        self.raft.advance(ready)
        return list(ready.messages)

    def apply(self, entry: Entry) -> None:
        """A state machine that only counts; a change of members is for Raft."""
        self.applied.append(entry)
        if isinstance(entry.data, ConfChange):
            try:
                self.raft.apply_change(entry.data)
            except ConfChangeError:
                pass  # on every node alike

    def compact(self, index: int) -> Snapshot:
        """Take a snapshot of what is applied, and forget the log up to `index`."""
        log = self.raft.log
        data = tuple(f"record {k}" for k in range(1, log.applied + 1))
        snapshot = Snapshot(log.id(log.applied), self.raft.conf, data)
        del self.saved[: max(0, index - self.base.index)]
        self.raft.compact(snapshot, index)
        self.base = log.base
        return snapshot

    def hear(self, *messages: Message) -> list[Message]:
        """Step the messages; what leaves because of them."""
        for message in messages:
            self.raft.step(message)
        return self.drive()

    def lead(self) -> "Member":
        """Win an election with everybody's vote; the first entries have left."""
        self.raft.campaign()
        self.drive()
        for peer in self.raft.peers:
            self.raft.step(VoteResponse(peer, self.raft.id, self.raft.term, True))
        assert self.raft.role == "leader"
        self.drive()
        return self

    def again(self, **changes) -> "Member":
        """The member after a crash: what its disk holds, and nothing else."""
        raft = self.raft
        twin = Member(raft.id, raft.conf, config=raft.config, raft=type(raft), **changes)
        twin.raft = type(raft)(
            raft.id,
            raft.conf,
            raft.config,
            raft.rng,
            twin.said.append,
            self.disk,
            tuple(self.saved),
            base=self.base,
            applied=self.base.index,
        )
        twin.disk, twin.saved, twin.base = self.disk, list(self.saved), self.base
        return twin

    def heard(self, *kinds: type) -> list[Event]:
        """What was said, of these kinds."""
        return [event for event in self.said if isinstance(event, kinds)]

    @property
    def terms(self) -> list[int]:
        """The log as its terms."""
        return [entry.term for entry in self.raft.log.entries]


class Net:
    """Members and the messages that wait on the wires between them, oldest first."""

    def __init__(self, size: int = 3, **about):
        conf = about.pop("conf", voters(size))
        logs = about.pop("logs", {})
        self.members = {
            name: Member(name, conf, logs.get(name, ()), **about) for name in conf.members
        }
        self.wire: list[Message] = []
        self.lost: Callable[[Message], bool] = lambda message: False

    def __getitem__(self, name: str) -> Raft:
        return self.members[name].raft

    def gather(self) -> None:
        """Let everybody do what is ready; the messages go onto the wire."""
        for member in self.members.values():
            self.wire += [m for m in member.drive() if not self.lost(m)]

    def settle(self, rounds: int = 1000) -> None:
        """Deliver everything until nothing is left to say."""
        self.gather()
        for _ in range(rounds):
            if not self.wire:
                return
            self.deliver(self.wire[0])
        raise AssertionError(f"they never stop talking: {self.wire[:4]}")

    def deliver(self, message: Message) -> None:
        """Let one message of the wire arrive."""
        self.wire.remove(message)
        if message.target in self.members:
            self.members[message.target].raft.step(message)
        self.gather()

    def cut(self, *names: str) -> None:
        """From now on nothing goes to or from these."""
        self.lost = lambda m: (m.source in names) != (m.target in names)
        self.wire = [m for m in self.wire if not self.lost(m)]

    def heal(self) -> None:
        """Everything gets through again."""
        self.lost = lambda message: False

    def elect(self, name: str) -> Raft:
        """Let `name` campaign and the rest answer."""
        self[name].campaign()
        self.settle()
        assert self[name].role == "leader", f"{name} is {self[name].role}"
        return self[name]

    def beat(self, name: str, times: int = 1) -> None:
        """Let a leader's heartbeat timer run out, and everybody answer."""
        for _ in range(times):
            self[name].tick(self[name].config.heartbeat_ticks)
            self.settle()
