"""A simulated network: packets are data on their way, and can be lost, doubled, late or cut off.

A link is a connection and keeps its order, as TCP does, unless `reorder` lets a packet be
overtaken. Whether a packet will be lost is decided when it leaves, so that pictures can show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappush
from math import inf, nextafter
from random import Random
from typing import NamedTuple

from kvlearn.events import Delayed, Dropped, Healed, LinksCut, Sent, facts
from kvlearn.raft.messages import InstallSnapshot, Message
from kvlearn.sim.clock import PACKET, REFUSAL, VirtualClock
from kvlearn.trace import Trace

Link = tuple[str, str]


def span_of_seconds(setting: str, given) -> tuple[float, float]:
    """(shortest, longest), given as a pair or as one number for both.

    Raises: ValueError that names the setting.
    """
    pair = (given, given) if isinstance(given, (int, float)) else given
    match pair:
        case [int() | float() as low, int() | float() as high] if 0 <= low <= high < inf:
            return low, high
    raise ValueError(f"{setting} is (shortest, longest) in seconds from 0 on, not {given!r}")


class Links:
    """The quality of all links. Probabilities are per packet, times in virtual seconds.

    Raises: ValueError that says which setting does not fit.
    """

    def __init__(
        self,
        latency_s: tuple[float, float] = (0.002, 0.006),
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
    ):
        self.latency_s = latency_s  # (shortest, longest) way
        self.loss = loss
        self.duplicate = duplicate
        self.reorder = reorder  # chance to be held up by up to ten more latencies, and overtaken

    def __setattr__(self, setting: str, new) -> None:
        if setting == "latency_s":
            new = span_of_seconds(setting, new)
        elif setting in ("loss", "duplicate", "reorder"):
            if not isinstance(new, (int, float)) or not 0 <= new <= 1:
                raise ValueError(f"{setting} is a probability between 0 and 1, not {new}")
        else:
            raise AttributeError(
                f"links have latency_s, loss, duplicate and reorder, but no {setting!r}"
            )
        super().__setattr__(setting, new)

    def __repr__(self) -> str:
        low, high = self.latency_s
        return (
            f"Links(latency_s=({low}, {high}), loss={self.loss}, "
            f"duplicate={self.duplicate}, reorder={self.reorder})"
        )


class Packet(NamedTuple):
    """A message on its way. `number` names it in the trace; `fate` tells why it will not arrive."""

    number: int
    message: Message
    sent_s: float
    arrives_s: float
    fate: str
    cause: int  # the record of its Sent

    def __deepcopy__(self, memo: dict) -> Packet:
        return self

    def __repr__(self) -> str:
        message = self.message
        where = f"{message.source}→{message.target}"
        return f"<packet {self.number}: {where} {message}, arrives at {self.arrives_s:.4f} s>"


_packet = tuple.__new__  # Packet(...) without the detour through Python: one is made per message


class Network:
    """Invariant: every packet on the wire stands in the queue under its time; one that was taken
    off by hand stays there until then, and `_gone` knows it by number and time."""

    def __init__(self, clock: VirtualClock, trace: Trace, links: Links, rng: Random):
        self.clock = clock
        self.trace = trace
        self.links = links
        self.cuts: set[Link] = set()
        self._rng = rng
        self._packets = 0
        self._last_arrival: dict[Link, float] = {}
        self._gone: set[tuple[int, float]] = set()

    def send(self, message: Message, cause: int | None) -> None:
        """Put a message on its way, twice if the network doubles it."""
        clock, links, random = self.clock, self.links, self._rng.random
        now, source = clock.now, message.source
        link = (source, message.target)
        fate, doubled = "", False
        if self.cuts and link in self.cuts:
            fate = "CUT"
        elif links.loss and random() < links.loss:
            fate = "LOST"
        low, high = links.latency_s
        while True:
            arrives = now + low + (high - low) * random()
            if links.reorder and random() < links.reorder:
                arrives += 10 * (arrives - now) * random()
            else:
                before = self._last_arrival.get(link, 0.0)
                if arrives < before:
                    arrives = before
                self._last_arrival[link] = arrives
            self._packets = number = self._packets + 1
            seq = self.trace.note(now, source, Sent, (message, number, arrives, fate), cause)
            packet = _packet(Packet, (number, message, now, arrives, fate, seq))
            clock.order = order = clock.order + 1  # clock.push, without a call for each message
            heappush(clock.queue, (arrives, order, PACKET, packet))
            if not links.duplicate or doubled or message.at_most_once:
                return
            doubled = True
            if random() >= links.duplicate:
                return

    def arrives(self, packet: Packet) -> bool:
        """Whether a packet whose time has come gets through; if not, the trace says why."""
        if not (self._gone or self.cuts or packet.fate):
            return True  # as nearly always
        if (packet.number, packet.arrives_s) in self._gone:
            self._gone.discard((packet.number, packet.arrives_s))
            return False
        message = packet.message
        if packet.fate:
            self._lose(packet, packet.fate)
            return False
        if (message.source, message.target) in self.cuts:
            self._lose(packet, "CUT")
            return False
        return True

    def refuse(self, packet: Packet) -> None:
        """Nobody listens at its target. Whoever passed a client's request on (such messages have
        term 0) or sends a snapshot learns that its connection was refused, unless the link back is
        cut."""
        seq = self._lose(packet, "DOWN")
        message = packet.message
        back = (message.target, message.source)
        tells = message.term == 0 or isinstance(message, InstallSnapshot)
        if tells and back not in self.cuts:
            low, high = self.links.latency_s
            time = self.clock.now + low + (high - low) * self._rng.random()
            self.clock.push(time, REFUSAL, (message, seq))

    def _lose(self, packet: Packet, reason: str) -> int:
        message = packet.message
        known = facts(source=message.source, target=message.target)
        dropped = Dropped(message, packet.number, reason, known)
        return self.trace.add(self.clock.now, message.target, dropped, packet.cause)

    # By hand ----------------------------------------------------------------------------------

    @property
    def newest(self) -> int:
        """The number of the packet that left last; 0 before the first."""
        return self._packets

    def in_flight(self) -> list[Packet]:
        """The packets on the wire, soonest arrival first."""
        items = sorted((item for item in self.clock.queue if item[2] == PACKET), key=_order)
        packets = [item[3] for item in items]
        return [p for p in packets if (p.number, p.arrives_s) not in self._gone]

    def find(self, number: int) -> Packet:
        """The packet on the wire with that number.

        Raises: ValueError where there is none (any more).
        """
        for packet in self.in_flight():
            if packet.number == number:
                return packet
        raise ValueError(
            f"packet {number} is not on the wire; cluster.in_flight lists those that are"
        )

    def take(self, packet: Packet) -> None:
        """Take it off the wire; the caller knows what becomes of it."""
        self._gone.add((packet.number, packet.arrives_s))

    def drop(self, packet: Packet) -> None:
        """Take it off the wire, for good."""
        self.take(packet)
        self._lose(packet, "BY_HAND")

    def lost(self, packet: Packet) -> None:
        """It had arrived, and its target died before it looked at it."""
        self._lose(packet, "DOWN")

    def delay(self, packet: Packet, seconds: float) -> None:
        """Let it arrive `seconds` later than it would (others may overtake it)."""
        self.take(packet)
        later = max(packet.arrives_s + seconds, nextafter(packet.arrives_s, inf))
        arrives = max(later, self.clock.now)
        self.trace.add(
            self.clock.now,
            packet.message.source,
            Delayed(packet.message, packet.number, arrives),
            packet.cause,
        )
        self.clock.push(arrives, PACKET, packet._replace(arrives_s=arrives))

    def double(self, packet: Packet) -> None:
        """Send it a second time now: the copy takes as long as the first, and no dice are thrown,
        so that nothing else changes."""
        message, now = packet.message, self.clock.now
        fate = "CUT" if (message.source, message.target) in self.cuts else ""
        arrives = now + (packet.arrives_s - packet.sent_s)
        self._packets = number = self._packets + 1
        cause = self.trace[packet.cause].cause  # as of every second packet that a network makes
        seq = self.trace.add(now, message.source, Sent(message, number, arrives, fate), cause)
        self.clock.push(arrives, PACKET, Packet(number, message, now, arrives, fate, seq))

    def cut(self, links: Iterable[Link], why: str, anew: bool = False) -> None:
        """Cut these one-way links too, or (`anew`) only these from now on."""
        links = set(links)
        self.cuts = links if anew else self.cuts | links
        self.trace.add(self.clock.now, "", LinksCut(tuple(sorted(self.cuts)), why), None)

    def heal(self) -> None:
        """Let all links work again."""
        self.cuts = set()
        self.trace.add(self.clock.now, "", Healed(), None)


def _order(item: tuple) -> tuple:
    """The place of an item in the queue: its time, then when it was put there."""
    return item[:2]
