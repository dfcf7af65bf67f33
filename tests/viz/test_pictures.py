"""What ring, logs, space-time diagram and states show: the facts of the trace, and their hooks."""

import random
import re
import time
from xml.etree import ElementTree

import pytest

from kvlearn import events as ev
from kvlearn.raft import messages as m
from kvlearn.raft.types import ZERO, ConfState, Entry, EntryID
from kvlearn.trace import Trace
from kvlearn.viz import dot, logs, picture, ring, spacetime, states
from kvlearn.viz.moment import Moment
from kvlearn.viz.ring import places, size
from kvlearn.viz.states import transitions
from tests.viz import scenes

DRAWINGS = [ring, logs, spacetime, states, picture]
SCENES = [
    scenes.three,
    scenes.five,
    scenes.trouble,
    scenes.long_logs,
    scenes.seven,
    scenes.joint,
    Trace,
]


def hooked(svg, name, **wanted):
    """The elements that carry the hook `data-kv-<name>` (and further ones with these values)."""
    root = ElementTree.fromstring(svg.html())
    found = [e for e in root.iter() if e.get(f"data-kv-{name}") is not None]
    return [e for e in found if all(e.get(f"data-kv-{k}") == v for k, v in wanted.items())]


def inside(element):
    """All text in an element, title tooltips left out."""
    return " ".join(e.text for e in element.iter() if e.tag.endswith("}text"))


# Every picture ----------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", DRAWINGS)
@pytest.mark.parametrize("scene", SCENES)
def test_every_picture_is_xml_in_all_its_forms(draw, scene):
    drawn = draw(scene())
    for markup in (drawn.html(), drawn.svg(), drawn.svg(dark=True)):
        ElementTree.fromstring(markup)
    assert drawn.text and drawn.title and drawn.desc
    assert not re.search(r"\bid=", drawn.html())


@pytest.mark.parametrize("draw", DRAWINGS)
def test_equal_traces_give_equal_bytes(draw):
    one, other = draw(scenes.trouble()), draw(scenes.trouble())
    assert one.html() == other.html() and one.svg() == other.svg() and one.text == other.text


@pytest.mark.parametrize("draw", DRAWINGS)
def test_an_empty_trace_says_so(draw):
    assert "no node has started" in draw(Trace()).text


def hostile():
    """Names and commands that would like to be markup, or a terminal's command."""
    trace = Trace()
    names = ("a-very-long-node-name", 'n<2>&"', "节点")
    scenes.start(trace, *names, members=names)
    scenes.elect(trace, names[0], names[1:], 1, 1.0)
    command = "put <b>&\"'\x00\n\x1b[31m</text>漢字" + "x" * 300
    trace.add(1.2, "c<1>", ev.Invoked(1, names[0], command), None)
    entries = (Entry(1, 1), Entry(2, 1, command))
    scenes.replicate(trace, scenes.Wire(trace), names[0], names[1:], entries, 1.2, ZERO, 0)
    trace.add(1.5, "c<1>", ev.Returned(1, names[0], command, 2, "</svg><script>"), None)
    return trace


@pytest.mark.parametrize("draw", DRAWINGS)
def test_hostile_text_stays_text(draw):
    drawn = draw(hostile())
    for markup in (drawn.html(), drawn.svg()):
        root = ElementTree.fromstring(markup)
        assert not [e for e in root.iter() if e.tag.split("}")[-1] in ("b", "script")]
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", drawn.text)


@pytest.mark.parametrize("draw", [ring, logs, picture])
def test_at_is_a_time_and_seq_a_record(draw):
    trace = scenes.five()
    for seq in (0, 17, len(trace) - 1):
        assert draw(trace, seq=seq).svg() == draw(Moment.at(trace, seq)).svg()
    assert draw(trace, at=1.405).svg() == draw(Moment.at_time(trace, 1.405)).svg()
    with pytest.raises(ValueError, match="not both"):
        draw(trace, at=1.0, seq=3)


@pytest.mark.parametrize("draw", DRAWINGS)
def test_what_has_no_trace_cannot_be_drawn(draw):
    with pytest.raises(TypeError, match="trace or a cluster"):
        draw(42)


@pytest.mark.parametrize("draw", [ring, logs])
def test_a_moment_is_drawn_in_a_few_milliseconds(draw):
    moment = Moment.at(scenes.trouble())
    best = min(_spent(draw, moment) for _ in range(5))
    assert best < 0.03  # half of it or less on an idle machine


def _spent(draw, moment):
    began = time.process_time()
    draw(moment)
    return time.process_time() - began


# The ring ---------------------------------------------------------------------------------------


def test_the_ring_has_its_hooks():
    drawn = ring(scenes.trouble())
    roles = {e.get("data-kv-node"): e.get("data-kv-role") for e in hooked(drawn, "node")}
    assert roles == {
        "n1": "follower", "n2": "down", "n3": "paused", "n4": "candidate", "n5": "follower"
    }  # fmt: skip
    root = ElementTree.fromstring(drawn.html())
    assert root.get("data-kv-time") == "2.01" and root.get("data-kv-term") == "2"
    assert root.get("data-kv-leader") == ""  # it is paused
    assert ElementTree.fromstring(ring(scenes.three()).html()).get("data-kv-leader") == "n1"


def test_the_rings_twin_holds_the_facts():
    moment = Moment.at(scenes.trouble())
    text = ring(moment).text
    for name, node in moment.nodes.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name}:")]
        assert f"term {node.term}" in line and f"committed {node.commit}," in line
        assert f"log up to {node.log.last}," in line and node.raft_role in line or "down" in line
    assert "votes n4, refused by n5" in text
    assert text.count("on its way: ") == len(moment.packets)
    assert (
        "n4→n1 Vote? t2 3@1, due at 2.0200 s, will not arrive: the link from n4 to n1 is cut"
        in text
    )
    assert f"last: {moment.sentence}" in text


def test_votes_are_slots():
    drawn = ring(scenes.trouble())
    slots = {e.get("data-kv-vote"): e.get("data-kv-granted") for e in hooked(drawn, "vote")}
    assert slots == {"n1": None, "n2": None, "n3": None, "n4": "true", "n5": "false"}


def test_every_packet_is_a_dot_and_lost_ones_are_dashed():
    moment = Moment.at(scenes.five(), None)
    dots = hooked(ring(moment), "message")
    assert {int(n) for e in dots for n in e.get("data-kv-message").split()} == set(moment.packets)
    for element in dots:
        lost = element.get("data-kv-fate") is not None
        assert (element.get("stroke-dasharray") is not None) == lost


def test_a_dot_travels_from_sender_to_receiver():
    trace = scenes.five()
    drawn = {}
    for at in (1.4001, 1.41, 1.4199):
        (element,) = hooked(ring(trace, at=at), "message", source="n3", target="n1")
        drawn[at] = float(element.get("cx")), float(element.get("cy"))
    (sx, sy), (tx, ty) = places(5)[2], places(5)[0]
    gone = [((x - sx) * (tx - sx) + (y - sy) * (ty - sy)) for x, y in drawn.values()]
    assert gone == sorted(gone) and gone[0] > 0


def test_equal_packets_in_one_place_are_one_dot():
    trace = Trace()
    scenes.start(trace, "n1", "n2")
    wire = scenes.Wire(trace)
    for _ in range(5):
        wire.send(1.0, m.Heartbeat("n1", "n2", 1, 0))
    (element,) = hooked(ring(trace), "message")
    assert element.get("data-kv-message") == "1 2 3 4 5"
    assert "Beat ×5" in ring(trace).html()


def test_cuts_are_drawn_by_direction():
    drawn = ring(scenes.seven())
    assert [e.get("data-kv-cut") for e in hooked(drawn, "cut")] == ["n2 n4"]
    both = {e.get("data-kv-cut") for e in hooked(ring(scenes.trouble()), "cut")}
    assert both == {"n1 n4", "n1 n5", "n2 n4", "n2 n5", "n3 n4", "n3 n5"}


def test_members_are_told_by_shape_and_word():
    drawn = ring(scenes.joint())
    said = {e.get("data-kv-node"): inside(e) for e in hooked(drawn, "node")}
    roles = {e.get("data-kv-node"): e.get("data-kv-role") for e in hooked(drawn, "node")}
    assert roles == {"n1": "leader", "n2": "follower", "n3": "follower", "n4": "outside",
                     "n5": "learner", "n6": "outside"}  # fmt: skip
    assert "hands over to n2" in said["n1"] and "votes: old" in said["n1"]
    assert "votes: new, old" in said["n2"] and "log 13–14" in said["n2"]
    assert "2 of 4 pre-votes" in said["n3"]
    assert "snapshot 4/6" in said["n4"] and "votes: new" in said["n4"]
    assert "no vote" in said["n5"] and "no vote" in said["n6"]
    assert "joint: a majority of the new n2 n3 n4 and one of the old n1 n2 n3" in drawn.text
    assert "n4: outside, term 2" in drawn.text and "has 4 of 6 records" in drawn.text


def test_a_removed_node_that_has_not_heard_of_it_says_so():
    trace = scenes.three()
    trace.add(3.0, "n1", ev.ConfChanged(ConfState(("n1", "n2"))), None)
    said = {e.get("data-kv-node"): inside(e) for e in hooked(ring(trace), "node")}
    assert "removed, unaware" in said["n3"] and "removed" not in said["n2"]
    assert "members: voters: n1 n2; outside: n3" in ring(trace).text
    assert "members" not in ring(scenes.three()).text, "where everybody votes, nothing is said"


def points(element):
    return [tuple(map(float, p.split(","))) for p in re.findall(r"[\d.]+,[\d.]+", element.get("d"))]


def within(spot, corners):
    """Whether a point lies inside of a polygon (even-odd rule)."""
    (x, y), hits = spot, 0
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1]):
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            hits += 1
    return hits % 2 == 1


@pytest.mark.parametrize("count", range(3, 13))
def test_the_outlines_of_both_majorities_hold_their_voters_and_nobody_else(count):
    names = [f"n{k}" for k in range(1, count + 1)]
    trace = Trace()
    scenes.start(trace, *names, members=tuple(names))
    new, old = tuple(names[1 : count // 2 + 2]), tuple(names[: count - 1 : 2])
    trace.add(1.0, "n1", ev.ConfChanged(ConfState(new, old)), None)
    trace.add(1.0, "n1", ev.Applied(1, 1, None, 1), None)
    drawn, spots = ring(trace), dict(zip(names, places(count)))
    for word, group in (("new", new), ("old", old)):
        (outline,) = hooked(drawn, "majority", majority=word)
        corners = points(outline)
        for name, (x, y) in spots.items():
            rim = [(x + 30 * dx, y + 30 * dy) for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1))]
            assert [within(p, corners) for p in rim] == [name in group] * 4, (word, name)
    assert not hooked(ring(scenes.five()), "majority")


def test_pre_votes_are_pale_and_parts_of_a_snapshot_are_squares():
    drawn = ring(scenes.joint())
    slots = [e for e in hooked(drawn, "vote") if e.get("data-kv-granted") == "true"]
    assert [(e.get("data-kv-vote"), e.get("fill-opacity")) for e in slots] == [
        ("n3", "0.4"), ("n4", "0.4")
    ]  # fmt: skip
    dots = {(e.get("data-kv-source"), e.get("data-kv-target")): e for e in hooked(drawn, "message")}
    assert dots["n1", "n4"].tag.endswith("}rect") and not dots["n1", "n4"].get("fill-opacity")
    assert dots["n3", "n2"].tag.endswith("}circle") and dots["n3", "n2"].get("fill-opacity")


def test_the_timer_runs_out():
    trace = scenes.three()
    left = []
    for at in (1.22, 1.5, 2.0, 2.4):
        drawn = ring(trace, at=at)
        (node,) = hooked(drawn, "node", node="n2")
        left += [float(e.get("data-kv-left")) for e in node.iter() if e.get("data-kv-left")]
        (leader,) = hooked(drawn, "node", node="n1")
        assert not [e for e in leader.iter() if e.get("data-kv-left")]
    assert left == sorted(left, reverse=True) and len(left) == 4


@pytest.mark.parametrize("count", range(1, 14))
def test_nodes_stand_apart_and_within_the_picture(count):
    spots = places(count)
    wide, high = size(count)
    for number, (x, y) in enumerate(spots):
        assert 42 < x < wide - 42 and 42 < y < high - 42
        for ox, oy in spots[:number]:
            assert (x - ox) ** 2 + (y - oy) ** 2 > 100**2


def test_labels_of_messages_do_not_cover_each_other():
    rng = random.Random(5)
    trace = Trace()
    scenes.start(trace, *scenes.FIVE, members=scenes.FIVE)
    wire = scenes.Wire(trace)
    for _ in range(12):
        source, target = rng.sample(scenes.FIVE, 2)
        prev = EntryID(1, rng.randrange(99))
        message = m.AppendEntries(source, target, 1, prev, (Entry(prev.index + 1, 1),), 0)
        wire.send(1.0, message, way_s=rng.uniform(0.02, 0.2))
    drawn = ElementTree.fromstring(ring(trace, at=1.01).html())
    (messages,) = [e for e in drawn.iter() if e.get("class") == "kv-messages"]
    spots = [(float(e.get("x")), float(e.get("y"))) for e in messages if e.tag.endswith("}text")]
    assert len(spots) >= 8  # most of them found a place
    for number, (x, y) in enumerate(spots):
        for ox, oy in spots[:number]:
            assert abs(y - oy) > 9 or abs(x - ox) > 25


# The logs ---------------------------------------------------------------------------------------


def test_cells_carry_entry_and_commitment():
    drawn = logs(scenes.five())
    (strip,) = hooked(drawn, "node", node="n3")
    cells = [
        (e.get("data-kv-entry"), e.get("data-kv-committed"))
        for e in strip.iter()
        if e.get("data-kv-entry")
    ]
    assert cells == [
        ("1@1", "true"), ("2@1", "true"), ("3@1", "true"), ("4@1", "false"), ("5@1", "false")
    ]  # fmt: skip
    ticks = [e.get("data-kv-applied") for e in strip.iter() if e.get("data-kv-applied")]
    assert ticks == ["1", "2", "3"]
    for cell in strip.iter():
        if cell.get("data-kv-entry"):
            (rect,) = [e for e in cell if e.tag.endswith("}rect")]
            dashed = rect.get("stroke-dasharray") is not None
            assert dashed == (cell.get("data-kv-committed") == "false")
            assert "term 1" in inside(cell)


def test_the_leaders_flags_are_match_and_next():
    drawn = logs(scenes.five())
    told = {
        e.get("data-kv-peer"): (e.get("data-kv-match"), e.get("data-kv-next"))
        for e in hooked(drawn, "peer")
    }
    assert told == {peer: ("3", "6") for peer in ("n1", "n2", "n4", "n5")}
    assert "n1: match 3, next 6 (replicate)" in drawn.text


def test_a_follower_has_no_flags():
    (strip,) = hooked(logs(scenes.five()), "node", node="n1")
    assert not [e for e in strip.iter() if e.get("data-kv-peer")]


def test_long_logs_show_their_end_and_say_what_is_left_out():
    drawn = logs(scenes.long_logs())
    shown = [e.get("data-kv-entry") for e in hooked(drawn, "entry")]
    assert "141@9" in shown and "1@1" not in shown
    folded = {}
    for strip in hooked(drawn, "node"):
        cells = [e for e in strip.iter() if e.get("data-kv-entry")]
        (fold,) = [e.get("data-kv-folded") for e in strip.iter() if e.get("data-kv-folded")]
        folded[strip.get("data-kv-node")] = int(fold.split()[0]) + len(cells)
    assert folded == {"n1": 141, "n2": 140, "n3": 13}  # nothing is lost from the count


def test_another_stretch_of_the_logs():
    drawn = logs(scenes.long_logs(), first=10, last=14)
    assert {e.get("data-kv-entry") for e in hooked(drawn, "entry")} == {
        "10@1", "11@1", "12@1", "13@1", "14@1", "13@3"
    }  # fmt: skip
    assert "… 127 later" in drawn.html()


def test_what_a_snapshot_replaced_is_one_folded_cell():
    trace = Trace()
    entries = tuple(Entry(k, 2, f"put k={k}") for k in range(6, 9))
    scenes.start(trace, "n1", term=2, entries=entries, commit=8, applied=8)
    drawn = logs(trace)
    assert [e.get("data-kv-folded") for e in hooked(drawn, "folded")] == ["≤ 5 snapshot"]
    assert [e.get("data-kv-entry") for e in hooked(drawn, "entry")] == ["6@2", "7@2", "8@2"]


def test_logs_that_begin_later_and_a_snapshot_that_is_coming():
    drawn = logs(scenes.joint())
    folds = {
        strip.get("data-kv-node"): [e.get("data-kv-folded") for e in strip.iter()
                                    if e.get("data-kv-folded")]
        for strip in hooked(drawn, "node")
    }  # fmt: skip
    snapshot = ["≤ 12@1 snapshot"]
    assert folds == {"n1": snapshot, "n2": snapshot, "n3": snapshot, "n4": [], "n5": [], "n6": []}
    (fresh,) = hooked(drawn, "node", node="n4")
    assert "of the snapshot ≤ 12@1 it has 4 of 6 records" in inside(fresh)
    (change, *_) = hooked(drawn, "entry", entry="14@1")
    assert inside(change).startswith("+n4 -n1")
    assert "gets the snapshot ≤ 12@1: 4 of 6 records" in drawn.text
    assert "(snapshot ≤ 12@1)" in drawn.text


def test_the_logs_twin_holds_the_entries():
    moment = Moment.at(scenes.five())
    text = logs(moment).text
    for name, node in moment.nodes.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        for entry in node.log:
            assert str(entry.id) in line
        assert f"commit {node.commit} applied {node.applied}" in line
        # The bar stands behind the last committed entry.
        before = line.split("|")[0] if "|" in line else ""
        assert before.count("@") == node.commit


# The space-time diagram -------------------------------------------------------------------------


def test_every_message_is_an_arrow_downwards():
    trace = scenes.three()
    drawn = spacetime(trace)
    arrows = hooked(drawn, "message")
    assert {int(e.get("data-kv-message")) for e in arrows} == {
        r.event.packet for r in trace.of(ev.Sent)
    }
    for arrow in arrows:
        way = [e.get("d") for e in arrow if e.get("d")][0]
        (_, top), (_, bottom) = [tuple(map(float, p.split(","))) for p in way[1:].split(" L")]
        assert bottom > top
    assert len(hooked(drawn, "node")) == 3 and len(hooked(drawn, "client")) == 3  # line, two calls


def test_a_lost_message_ends_in_a_cross():
    trace = scenes.three()
    wire = scenes.Wire(trace)
    wire.packets = 900
    lost = wire.send(1.3, m.RequestVote("n1", "n2", 2, ZERO), fate="LOST")
    wire.lose(lost)
    drawn = spacetime(trace)
    (arrow,) = [e for e in hooked(drawn, "message") if e.get("data-kv-fate")]
    assert arrow.get("data-kv-fate") == "LOST"
    assert "lost: the network lost it" in drawn.text


def test_the_axis_never_runs_backwards_and_folds_idle_time():
    drawn = spacetime(scenes.three())
    assert "+1.0 s" in drawn.html()
    assert drawn.height < 700


def beats(count, lost=()):
    trace = scenes.three()
    wire = scenes.Wire(trace)
    wire.packets = 5000
    for k in range(count):
        flight = wire.send(2.0 + k / 10, m.Heartbeat("n1", "n2", 1, 0))
        (wire.lose if k in lost else wire.arrive)(flight)
    return trace


def test_heartbeats_are_faded_left_out_or_news():
    few = spacetime(beats(5))
    assert len(hooked(few, "message")) == 8 + 5
    many = spacetime(beats(60, lost=(7, 8, 30)))
    assert len(hooked(many, "message")) == 8 + 1  # the first that was lost
    assert "59 heartbeats left out" in many.text and "59 heartbeats are not drawn" in many.html()
    assert len(hooked(spacetime(beats(60), heartbeats=True), "message")) == 8 + 60
    assert len(hooked(spacetime(beats(5), heartbeats=False), "message")) == 8


def test_a_window_shows_what_lies_in_it():
    trace = scenes.three()
    drawn = spacetime(trace, 1.005, 1.015)
    assert drawn.text.startswith("from 1.005 s to 1.015 s")
    shown = hooked(drawn, "message")
    on_the_way = set(Moment.at_time(trace, 1.005).packets)
    inside = {r.event.packet for r in trace.of(ev.Sent) if 1.005 <= r.time <= 1.015}
    assert {int(e.get("data-kv-message")) for e in shown} == on_the_way | inside
    assert "a part of the trace" in drawn.html()


def test_a_long_run_shows_its_last_messages():
    trace = scenes.three()
    wire = scenes.Wire(trace)
    wire.packets = 5000
    for k in range(300):
        wire.arrive(wire.send(2.0 + k / 20, m.AppendResponse("n2", "n1", 1, k)))
    drawn = spacetime(trace)
    numbers = [int(e.get("data-kv-message")) for e in hooked(drawn, "message")]
    assert max(numbers) == 5300 and 85 <= len(numbers) <= 95


def test_roles_crashes_and_cuts_stand_beside_the_lines():
    text = spacetime(scenes.trouble()).text
    assert "n3 leader, term 1" in text and "n2 down" in text and "n3 paused" in text
    assert "n4 candidate, term 2" in text
    assert "network: partition (n4 n5) (n1 n2 n3)" in text


def test_a_restart_shows_a_gap():
    trace = scenes.three()
    trace.add(2.0, "n2", ev.Crashed(2), None)
    scenes.start(trace, "n2", time=3.0, term=1, boot=2)
    text = spacetime(trace).text
    assert "2.0000 s  n2 down" in text and "3.0000 s  n2 restarts, term 1" in text


def test_a_window_that_begins_after_a_crash_shows_no_crash():
    trace = scenes.three()
    trace.add(2.0, "n2", ev.Crashed(2), None)
    for second in (3.0, 4.0):
        trace.add(second, "n1", ev.Committed(2, 1, 1), None)
    crosses = {}
    for start in (1.9, 2.5):
        (line,) = hooked(spacetime(trace, start), "node", node="n2")
        fault = "var(--kv-fault)"
        crosses[start] = [e for e in line if e.get("stroke") == fault]
    assert len(crosses[1.9]) == 1 and not crosses[2.5]


def test_many_clients_share_a_line():
    trace = scenes.three()
    for k in range(5):
        trace.add(2.0 + k, f"c{k}", ev.Invoked(k, "n1", f"put k={k}"), None)
    lines = [e for e in hooked(spacetime(trace), "client") if e.get("class") == "kv-life"]
    assert [e.get("data-kv-client") for e in lines] == ["clients"]


def test_life_lines_tell_who_came_later_and_what_counts():
    drawn = spacetime(scenes.joint())
    said = inside(ElementTree.fromstring(drawn.html()))
    for words in ("starts, outside", "starts, learner", "hands over to n2", "pre-votes t3?"):
        assert words in said, words
    assert "n2 voters n2–4 and n1–3, learners n5" in drawn.text


# The states -------------------------------------------------------------------------------------


def test_the_transitions_that_were_taken():
    trace = scenes.trouble()
    taken, now = transitions(trace, len(trace) - 1)
    assert taken["start", "follower"].total() == 5
    assert taken["follower", "candidate"] == {"n3": 1, "n4": 1}
    assert taken["candidate", "leader"] == {"n3": 1}
    assert taken["leader", "paused"] == {"n3": 1} and taken["follower", "down"] == {"n2": 1}
    assert now["candidate"] == ["n4"] and now["follower"] == ["n1", "n5"]


def test_a_second_candidacy_is_an_arrow_to_itself():
    trace = Trace()
    scenes.start(trace, "n1")
    for term in (1, 2, 3):
        trace.add(term, "n1", ev.BecameCandidate(term, ZERO, 12, 10), None)
    taken, _ = transitions(trace, len(trace) - 1)
    assert taken["candidate", "candidate"] == {"n1": 2}


def test_pre_votes_and_members_join_the_machine_when_they_happened():
    trace = scenes.joint()
    taken, now = transitions(trace, len(trace) - 1)
    assert taken["follower", "pre-candidate"] == {"n3": 1} and now["pre-candidate"] == ["n3"]
    assert taken["start", "learner"] == {"n5": 1} and taken["start", "outside"] == {
        "n4": 1,
        "n6": 1,
    }
    assert "pre_candidate [" in states(trace).source
    assert "pre_candidate [" not in states(scenes.trouble()).source
    lost = ev.BecameFollower(2, None, 12, "QUORUM_LOST", (("ticks", 10),))
    trace.add(9.0, "n1", lost, None)
    assert "leader → follower (discovers a higher term, or hears no majority): n1 1×" in (
        states(trace).text
    )


def test_states_offer_their_source():
    drawn = states(scenes.trouble())
    assert drawn.source.startswith("digraph roles {") and "tone:" not in drawn.source
    assert "candidate -> leader" in drawn.source and "1× n3" in drawn.source
    assert drawn._repr_mimebundle_()["text/vnd.graphviz"] == drawn.source
    early = states(scenes.trouble(), seq=3)
    assert "candidate → leader" not in early.text


def test_a_graph_follows_the_theme():
    if dot.engine() is None:
        pytest.skip("no Graphviz here")
    drawn = states(scenes.three())
    assert "var(--kv-ink)" in drawn.html() and "#0102" not in drawn.html()
    assert "var(" not in drawn.svg() and "#0102" not in drawn.svg()


def test_without_graphviz_the_source_is_shown(monkeypatch):
    monkeypatch.setattr(dot, "engine", lambda: None)
    dot.render_dot.cache_clear()
    try:
        drawn = states(scenes.three())
        assert "pip install graphviz-pure" in drawn.text
        assert "digraph roles" in drawn.html()
        ElementTree.fromstring(drawn.svg())
    finally:
        dot.render_dot.cache_clear()


def test_bad_dot_says_so():
    if dot.engine() is None:
        pytest.skip("no Graphviz here")
    with pytest.raises(ValueError):
        dot.render_dot("digraph {{{")
