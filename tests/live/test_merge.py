"""One story out of many files: order, causes, and what became of every message."""

from __future__ import annotations

import json
import random
import time

import pytest

from kvlearn.events import (
    Crashed,
    Dropped,
    Healed,
    LinksCut,
    Paused,
    Received,
    Resumed,
    Saved,
    Sent,
    Started,
)
from kvlearn.live import merge
from kvlearn.live.merge import SETTLED_S, Merger, Parts, Row, merged
from kvlearn.raft.messages import TimeoutNow
from kvlearn.raft.types import Entry, HardState
from kvlearn.values import to_json

START = Started(1, None, (), 0, 0, ("n1", "n2"), 1)


def hello(packet: int, source: str = "n1", target: str = "n2") -> tuple[Sent, Received]:
    message = TimeoutNow(source, target, 1)
    return Sent(message, packet), Received(message, packet)


class Told:
    """Rows of two members, by hand; each call is a tenth of a second later."""

    def __init__(self):
        self.rows: list[Row] = []
        self.counts: dict[int, int] = {}

    def __call__(self, node: str, event, cause: int | None = None, part: int = 0) -> Row:
        part = part or {"n1": 1, "n2": 2}.get(node, -1)
        seq = self.counts[part] = self.counts.get(part, -1) + 1
        row = Row(10.0 + len(self.rows) / 10, part, seq, node, event, cause)
        self.rows.append(row)
        return row

    def trace(self):
        return merged(reversed(self.rows), {"nodes": ["n1", "n2"]}, 10.0)


def fates(trace) -> list[tuple[int, str]]:
    return [(r.event.packet, r.event.reason) for r in trace.of(Dropped)]


def test_times_begin_at_zero_and_never_decrease_and_numbers_are_places():
    told = Told()
    told("n1", START)
    told("n2", START)
    told("n1", Saved(1, None, 0), cause=0)
    trace = told.trace()
    assert [(r.seq, r.node, round(r.time, 3), r.cause) for r in trace] == [
        (0, "n1", 0.0, None),
        (1, "n2", 0.1, None),
        (2, "n1", 0.2, 0),
    ]
    assert trace.about == {"nodes": ["n1", "n2"]}


def test_a_message_that_came_is_due_to_its_sending_and_both_have_one_new_number():
    told = Told()
    there, back = hello(1), hello(1, "n2", "n1")
    told("n1", there[0])
    told("n2", there[1])
    told("n2", back[0], cause=0)
    told("n1", back[1])
    trace = told.trace()
    assert [(r.cause, r.event.packet) for r in trace] == [(None, 1), (0, 1), (1, 2), (2, 2)]
    assert not fates(trace)


def test_numbers_that_come_again_in_another_life_are_told_apart():
    told = Told()
    sent, got = hello(1)
    told("n1", sent)
    told("n2", got)
    told("n1", Crashed(0))
    told("n1", START, part=3)
    told("n1", sent, part=3)
    told("n2", got)
    trace = told.trace()
    assert [r.cause for r in trace.of(Received)] == [0, 4]
    assert [r.event.packet for r in trace.of(Received)] == [1, 2]


def test_what_a_later_message_has_overtaken_was_lost():
    told = Told()
    told("n1", hello(1)[0])
    told("n1", hello(2)[0])
    told("n2", hello(2)[1])
    trace = told.trace()
    assert fates(trace) == [(1, "LOST")]
    (dropped,) = trace.of(Dropped)
    assert (dropped.cause, dropped.node) == (0, "n2")


def test_what_is_sent_to_a_member_that_is_down_or_cut_off_does_not_arrive():
    told = Told()
    told("n2", START)
    told("n1", hello(1)[0])
    told("n2", Crashed(0))
    told("n1", hello(2)[0])
    told("n2", START, part=3)
    told("", LinksCut((("n1", "n2"), ("n2", "n1"))))
    told("n1", hello(3)[0])
    told("", Healed())
    told("n1", hello(4)[0])
    told("n2", hello(4)[1], part=3)
    assert fates(told.trace()) == [(1, "DOWN"), (2, "DOWN"), (3, "CUT")]


def test_a_message_is_on_its_way_for_a_second_and_then_lost():
    told = Told()
    told("n1", hello(1)[0])
    told("n2", START)
    assert fates(told.trace()) == []
    for _ in range(12):
        told("n2", Saved(1, None, 0))
    assert fates(told.trace()) == [(1, "LOST")]


def test_a_message_whose_sender_could_not_tell_of_it_keeps_its_own_number():
    told = Told()
    told("n2", hello(7)[1])
    told("n1", hello(1)[0])
    trace = told.trace()
    assert [(r.cause, r.event.packet) for r in trace] == [(None, 1), (None, 2)]


def test_a_crash_tells_what_the_next_start_finds_or_else_the_last_save():
    entries = tuple(Entry(index, 1, None) for index in (1, 2))
    told = Told()
    told("n1", START)
    told("n1", Saved(1, "n1", 0, 1, 1))
    told("n1", Crashed(0))
    told("n1", Started(2, "n2", entries, 1, 0, ("n1", "n2"), 2), part=3)
    told("n1", Saved(3, "n1", 2), part=3)
    told("n1", Crashed(0))
    crashes = [r.event for r in told.trace().of(Crashed)]
    assert crashes == [Crashed(2, HardState(2, "n2", 1)), Crashed(2, HardState(3, "n1", 2))]


def test_an_arrival_is_known_afterwards_and_what_waits_for_a_paused_member_is_not_lost():
    told = Told()
    told("n1", hello(1)[0])
    told("n2", Paused())
    told("n1", hello(2)[0])
    for _ in range(15):
        told("n1", Saved(1, None, 0))
    told("n2", Resumed())
    told("n2", hello(1)[1])
    told("n2", hello(2)[1])
    trace = told.trace()
    assert fates(trace) == []
    sent = [(r.time, r.event.arrives_s) for r in trace.of(Sent)]
    arrived = [(trace[r.cause].time, r.time) for r in trace.of(Received)]
    assert sent == arrived and len(sent) == 2


def test_what_waited_for_a_paused_member_may_be_lost_after_all():
    told = Told()
    told("n2", Paused())
    told("n1", hello(1)[0])
    told("n2", Resumed())
    for _ in range(12):
        told("n1", Saved(1, None, 0))
    assert fates(told.trace()) == [(1, "LOST")]


def test_a_sender_that_tells_late_tells_nothing_new():
    told = Told()
    told("n1", START)
    told("n2", hello(1)[1])
    told("n1", hello(1)[0])
    told("n1", hello(2)[0])
    told("n2", hello(2)[1])
    trace = told.trace()
    assert [(type(r.event).__name__, getattr(r.event, "packet", 0)) for r in trace] == [
        ("Started", 0),
        ("Received", 1),
        ("Sent", 2),
        ("Received", 2),
    ]


def plain(trace) -> list[tuple]:
    return [(r.seq, r.time, r.node, r.event, r.cause) for r in trace]


@pytest.mark.parametrize("seed", range(20))
def test_bit_by_bit_it_is_the_same_story(seed):
    """A random run of three members, merged at once and in pieces, with twins on the way."""
    rng, told = random.Random(seed), Told()
    lives, flying, packets = dict.fromkeys("123", 0), [], 0
    for _ in range(300):
        a, b = rng.sample("123", 2)
        match rng.choice("sssrrrrrdcCHPR"):
            case "s":
                packets += 1
                sent, got = hello(packets, f"n{a}", f"n{b}")
                told(f"n{a}", sent, part=int(a) + 10 * lives[a])
                flying.append((b, got))
            case "r" if flying:
                b, got = flying.pop(rng.randrange(min(3, len(flying))))
                told(f"n{b}", got, part=int(b) + 10 * lives[b])
            case "d" if flying:
                flying.pop(0)
            case "c":
                told(f"n{a}", Crashed(0))
                lives[a] += 1
                told(f"n{a}", START, part=int(a) + 10 * lives[a])
            case "C":
                told("", LinksCut(((f"n{a}", f"n{b}"),), "cut"))
            case "H":
                told("", Healed())
            case "P":
                told(f"n{a}", Paused())
                told(f"n{a}", Resumed())
    whole = plain(merged(told.rows, {}, 10.0))
    merger = Merger({}, 10.0)
    place = 0
    while place < len(told.rows):
        count = rng.randrange(1, 40)
        twin = merger.twin()
        twin.take(told.rows[place:])
        assert plain(twin.trace) == whole, f"seed {seed}: the twin at {place}"
        merger.take(told.rows[place : place + count])
        place += count
    assert plain(merger.trace) == whole, f"seed {seed}"
    assert all(r.cause is None or r.cause < r.seq for r in merger.trace)


# Files --------------------------------------------------------------------------------------


def line(seq: int, event, time: float = 0.0) -> str:
    row = {"seq": seq, "time": time, "node": "n1", "cause": None, "event": to_json(event)}
    return json.dumps(row) + "\n"


HEAD = '{"kvlearn": 1, "seed": null, "node": "n1", "boot": 1}\n'


def test_files_are_read_on_and_half_a_line_is_not_read_yet(tmp_path):
    parts, file = Parts(tmp_path, {}, 0.0), tmp_path / "n1.1.jsonl"
    assert len(parts.trace()) == 0
    whole = line(0, START)
    file.write_text(HEAD + whole[:20])
    assert len(parts.trace()) == 0
    file.write_text(HEAD + whole + line(1, Paused())[:-1])
    assert [str(r) for r in parts.trace()] == ["n1 starts in term 1 with its log up to 0@0"]
    same = parts.trace()
    assert same is parts.trace()
    with file.open("a") as more:
        more.write("\n")
    assert len(parts.trace()) == 2
    parts.add(1.0, "n1", Crashed(0))
    assert len(parts.trace()) == 3


def test_files_of_an_earlier_life_are_left_alone(tmp_path):
    (tmp_path / "n1.1.jsonl").write_text(HEAD + line(0, START))
    parts = Parts(tmp_path, {}, 0.0)
    (tmp_path / "n1.2.jsonl").write_text(HEAD + line(0, START) + line(1, Paused()))
    assert len(parts.trace()) == 2
    (tmp_path / "n1.2.jsonl").unlink()
    assert len(parts.trace()) == 2, "what was read stays when the folder goes"


def test_a_line_that_is_none_is_an_error(tmp_path):
    parts = Parts(tmp_path, {}, 0.0)
    (tmp_path / "n1.1.jsonl").write_text(HEAD + "nonsense\n")
    with pytest.raises(ValueError):
        parts.trace()


def test_what_is_old_settles_and_stays_and_what_is_new_waits(tmp_path):
    now = time.monotonic()
    parts, file = Parts(tmp_path, {}, now - 100), tmp_path / "n1.1.jsonl"
    file.write_text(HEAD + line(0, START, now - 50) + line(1, Paused(), now + 60))
    settled = parts.settled
    upto_s = parts.settle(1.0)
    assert 100 - SETTLED_S <= upto_s < 130
    assert [r.time for r in settled] == [pytest.approx(50)]
    assert len(parts.trace()) == 2 and settled is parts.settled and len(settled) == 1
    with file.open("a") as more:
        more.write(line(2, Resumed(), now + 61))
    late = tmp_path / "n2.1.jsonl"
    late.write_text(HEAD + line(0, START, now - 70))
    parts.settle(1.0)
    assert [round(r.time) for r in settled] == [50, 50], "what comes late is told at the end"
    assert parts.settle(1.0, ended=True) == pytest.approx(161)
    assert [type(r.event) for r in settled] == [Started, Started, Paused, Resumed]
    assert plain(parts.trace()) == plain(settled)


def test_what_was_not_read_yet_holds_the_rest_back(tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "PART_BYTES", 400)
    parts = Parts(tmp_path, {}, 0.0)
    for node in (1, 2):
        text = "".join(line(seq, START, seq + node / 10) for seq in range(40))
        (tmp_path / f"n{node}.1.jsonl").write_text(HEAD + text)
    rounds = 0
    while len(parts.settled) < 80:
        upto_s = parts.settle(0.0)
        times = [r.time for r in parts.settled]
        assert times == sorted(times) and all(time <= upto_s for time in times)
        rounds += 1
    assert rounds > 5
    assert [round(r.time, 1) for r in parts.settled][:4] == [0.1, 0.2, 1.1, 1.2]
