"""Majorities as sets: what is drawn is what the arithmetic of quorums says, counted another way."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import chain, combinations, product
from math import hypot
from xml.etree import ElementTree

import pytest

from kvlearn import Cluster
from kvlearn.raft.quorum import WON, majority, vote_result
from kvlearn.raft.types import ConfState
from kvlearn.trace import Trace
from kvlearn.viz import availability, downtime, ladder, meetings, quorums
from kvlearn.viz.quorums import configuration, furthest, smallest, unavailable


def names(*numbers):
    return tuple(f"n{number}" for number in numbers)


SIMPLE = [configuration(size) for size in range(1, 10)]
JOINT = ConfState(names(1, 2, 4), outgoing=names(1, 2, 3))
APART = ConfState(names(3, 4, 5), outgoing=names(1, 2))
LEARNER = ConfState(names(1, 2, 3), learners=names(4))
CONFS = [*SIMPLE, JOINT, APART, LEARNER]


def subsets(members):
    return chain.from_iterable(combinations(members, size) for size in range(len(members) + 1))


def is_quorum(conf, nodes):
    return vote_result(conf, dict.fromkeys(nodes, True)) == WON


def hooked(svg, name):
    """The elements that carry `data-kv-<name>`, by its value."""
    elements = ElementTree.fromstring(svg.html()).iter()
    return {e.get(f"data-kv-{name}"): e for e in elements if e.get(f"data-kv-{name}") is not None}


def drawings():
    yield from (quorums(conf) for conf in CONFS)
    yield from (meetings(conf) for conf in CONFS if len(conf.members) < 8)
    yield quorums(3, 5)
    yield quorums(5, pair=(names(1), ()))
    yield meetings(5, size=2)
    yield ladder()
    yield ladder([1])
    yield availability()
    yield availability([4])


# Arithmetic ---------------------------------------------------------------------------------


@pytest.mark.parametrize("conf", CONFS, ids=str)
def test_the_smallest_quorums_are_all_quorums_of_which_none_can_be_spared(conf):
    every = [set(nodes) for nodes in subsets(conf.members) if is_quorum(conf, nodes)]
    least = [one for one in every if not any(other < one for other in every)]
    found = smallest(conf)
    assert len(found) == len(least) and all(set(one) in least for one in found)


@pytest.mark.parametrize("conf", CONFS, ids=str)
def test_two_quorums_of_one_configuration_meet_and_furthest_meet_least(conf):
    pairs = [len({*a} & {*b}) for a, b in product(smallest(conf), repeat=2)]
    assert min(pairs) >= 1
    one, other = furthest(conf, conf)
    assert is_quorum(conf, one) and is_quorum(conf, other)
    assert len({*one} & {*other}) == min(pairs)


@pytest.mark.parametrize("size", range(1, 10))
def test_one_vote_less_than_a_majority_and_they_need_not_meet(size):
    """So `majority` is the least number that does it."""
    if majority(size) > 1:
        groups = list(combinations(range(size), majority(size) - 1))
        assert any(not {*a} & {*b} for a, b in product(groups, repeat=2))


@pytest.mark.parametrize("size", range(1, 8))
def test_unavailable_agrees_with_counting_every_case(size):
    down = Fraction(3, 100)
    lost = Fraction(0)
    for up in subsets(range(size)):
        if len(up) < majority(size):
            lost += down ** (size - len(up)) * (1 - down) ** len(up)
    assert unavailable(size, down) == lost
    assert unavailable(size, 0.03) == pytest.approx(float(lost), rel=1e-12)


def test_an_even_size_is_never_better_than_one_less():
    for size, down in product(range(2, 10, 2), (Fraction(1, 100), Fraction(1, 5), Fraction(1, 2))):
        assert unavailable(size, down) > unavailable(size - 1, down)
        assert size - majority(size) == size - 1 - majority(size - 1)


def test_who_is_down_half_of_the_time_gains_nothing_from_others():
    assert {unavailable(size, Fraction(1, 2)) for size in range(1, 10, 2)} == {Fraction(1, 2)}


# Every picture ------------------------------------------------------------------------------


def test_every_picture_is_xml_in_all_its_forms_and_says_what_it_shows():
    for drawn in drawings():
        for markup in (drawn.html(), drawn.svg(), drawn.svg(dark=True)):
            ElementTree.fromstring(markup)
        assert drawn.text and drawn.title and drawn.desc
        assert not re.search(r"\bid=", drawn.html()) and "var(" not in drawn.svg()


def test_equal_input_gives_equal_bytes():
    assert [d.svg() for d in drawings()] == [d.svg() for d in drawings()]


def test_names_stay_text():
    drawn = [draw(['<b>"&', "漢字", "n\x1b"]) for draw in (quorums, meetings)]
    for one in drawn:
        root = ElementTree.fromstring(one.html())
        assert not [e for e in root.iter() if e.tag.endswith("}b")]
        assert "\x1b" not in one.text and '<b>"&' in one.text


# Two sets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("conf", CONFS, ids=str)
def test_the_outlines_hold_their_nodes_and_nobody_else(conf):
    drawn = quorums(conf)
    spots = {}
    for name, node in hooked(drawn, "node").items():
        spots[name] = tuple(map(float, re.findall(r"-?[\d.]+", node[0].get("transform"))))
    for shape in hooked(drawn, "set").values():
        members = shape.get("data-kv-members").split()
        for name, spot in spots.items():
            assert inside(outline(shape.get("d")), spot) == (name in members)


def outline(way):
    """Points on a path of lines and arcs; the arcs' ends are close enough to tell in from out."""
    if " a" in way:  # a circle
        x, y, r = map(float, re.match(r"M([-\d.]+),([-\d.]+) a([\d.]+)", way).groups())
        return [(x, y), (x + r, y - r), (x + 2 * r, y), (x + r, y + r)]
    pairs = re.findall(r"(?:[ML]|[01] 0 1 )([-\d.]+),([-\d.]+)", way)
    return [(float(x), float(y)) for x, y in pairs]


def inside(corners, spot):
    """Whether a point is in a convex polygon."""
    x, y = spot
    sides = [
        ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / hypot(bx - ax, by - ay)
        for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1])
        if hypot(bx - ax, by - ay) > 0.1
    ]
    return all(side > -1 for side in sides)  # of a pixel: coordinates are rounded


@pytest.mark.parametrize("conf", CONFS, ids=str)
def test_nodes_tell_their_sets_and_the_root_tells_whom_they_share(conf):
    drawn = quorums(conf)
    one, other = furthest(conf, conf)
    nodes = hooked(drawn, "node")
    assert set(nodes) == set(conf.members)
    for name, node in nodes.items():
        told = " ".join(mark for mark, group in (("A", one), ("B", other)) if name in group)
        assert node.get("data-kv-sets") == told
        assert ("in both" in " ".join(node.itertext())) == (told == "A B")
    shared = drawn.hooks["data_kv_shared"].split()
    assert set(shared) == {*one} & {*other} and f"Both hold {' '.join(shared)}." in drawn.text


def test_a_learner_is_dotted_and_in_no_set():
    nodes = hooked(quorums(LEARNER), "node")
    assert nodes["n4"].get("data-kv-role") == "learner" and nodes["n4"].get("data-kv-sets") == ""
    assert nodes["n1"].get("data-kv-role") is None
    assert "learners, which do not vote: n4" in quorums(LEARNER).text
    assert all("n4" not in one for one in smallest(LEARNER))


def test_a_learner_does_not_help_a_set_to_a_majority():
    text = quorums(LEARNER, pair=(names(1, 4), names(2, 3))).text
    assert "A: n1 n4 (1 of 3, no majority: that is 2)" in text
    assert "B: n2 n3 (2 of 3, a majority)" in text


def test_a_joint_quorum_has_a_majority_of_each_half():
    text = quorums(JOINT).text
    assert "2 of 3 outgoing and 2 of 3 incoming, a majority of each" in text
    assert "outgoing: n1 n2 n3\nincoming: n1 n2 n4" in text
    half = quorums(JOINT, pair=(names(1, 3), names(1, 2))).text
    assert "A: n1 n3 (2 of 3 outgoing and 1 of 3 incoming, not a majority of each)" in half


def test_a_jump_between_configurations_may_leave_majorities_that_do_not_meet():
    """Why a change goes one node at a time, or through a joint configuration (section 6)."""
    jump = quorums(3, 5)
    assert jump.hooks["data_kv_shared"] == "" and "Nobody is in both" in jump.text
    assert "A: n1 n2 (2 of 3 old, a majority)" in jump.text
    assert "B: n3 n4 n5 (3 of 5 new, a majority)" in jump.text
    old, new = configuration(3), configuration(5)
    joint = ConfState(new.voters, outgoing=old.voters)
    for step in ((3, 4), (old, joint), (joint, new)):
        assert quorums(*step).hooks["data_kv_shared"]


def test_sets_of_one_s_own_are_judged():
    told = quorums(5, pair=(names(2, 1), names(3, 4, 5)))
    assert "A: n1 n2 (2 of 5, no majority: that is 3)" in told.text
    assert "Nobody is in both" in told.text
    assert "A: nobody (0 of 5" in quorums(5, pair=((), names(1))).text


@pytest.mark.parametrize("wrong", [0, 10, (), ConfState((), outgoing=("n1",))])
def test_what_is_no_configuration_to_draw_is_refused(wrong):
    with pytest.raises(ValueError, match="voter"):
        quorums(wrong)


def test_a_stranger_in_a_set_is_refused():
    with pytest.raises(ValueError, match="n9: no member; there are n1 n2 n3"):
        quorums(3, pair=(names(1, 9), names(2)))


# All sets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("conf", "size"), [(3, None), (5, None), (5, 2), (4, 2), (6, None),
                                            (JOINT, None), (1, None)])  # fmt: skip
def test_every_pair_is_there_with_whom_it_shares(conf, size):
    drawn = meetings(conf, size)
    conf = configuration(conf)
    groups = smallest(conf) if size is None else list(combinations(conf.voters, size))
    rows = [row.split() for row in hooked(drawn, "members")]
    assert rows == [list(one) for one in groups]
    pairs = hooked(drawn, "pair")
    assert len(pairs) == len(groups) * (len(groups) - 1) // 2
    for pair, cell in pairs.items():
        one, other = (set(groups[int(number) - 1]) for number in pair.split())
        assert set(cell.get("data-kv-shared").split()) == one & other
    apart = sum(not cell.get("data-kv-shared") for cell in pairs.values())
    assert drawn.hooks["data_kv_disjoint"] == apart
    assert (apart == 0) == (size is None)
    if apart:
        assert f"{apart} of {len(pairs)} pairs share nobody." in drawn.text


def test_quorums_of_an_even_size_share_two():
    assert "All 6 pairs share 2 nodes or more." in meetings(4).text
    assert "All 45 pairs share a node." in meetings(5).text


@pytest.mark.parametrize(("conf", "size", "why"), [
    (5, 0, "there are none"), (5, 6, "there are none"), (8, None, "56 groups are more"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused(conf, size, why):
    with pytest.raises(ValueError, match=why):
        meetings(conf, size)


# Sizes --------------------------------------------------------------------------------------


def test_the_ladder_s_steps():
    rungs = hooked(ladder(), "size")
    told = {int(n): (int(r.get("data-kv-majority")), int(r.get("data-kv-spare")))
            for n, r in rungs.items()}  # fmt: skip
    assert told == {1: (1, 0), 2: (2, 0), 3: (2, 1), 4: (3, 1), 5: (3, 2), 6: (4, 2), 7: (4, 3),
                    8: (5, 3), 9: (5, 4)}  # fmt: skip
    text = ladder().text.splitlines()
    assert text[2] == "3 nodes: 2 must answer, 1 may be down; one more may be down"
    assert text[3].endswith("nothing: 3 must answer instead of 2")


def test_the_curves_go_through_the_numbers():
    drawn = availability()
    curves = hooked(drawn, "size")
    assert set(map(int, curves)) == set(range(1, 8))
    ends = {}
    for size, curve in curves.items():
        points = re.findall(r"([\d.]+),([\d.]+)", curve.get("d"))
        ends[int(size)] = float(points[0][1])
        assert (curve.get("stroke-dasharray") is None) == bool(int(size) % 2)
    # Higher on the page is longer without a majority: 2, 1, 4, 3, 6, 5, 7 from above.
    assert sorted(ends, key=ends.get) == [2, 1, 4, 3, 6, 5, 7]
    assert "3 nodes: 1 %: 0.0298 %" in drawn.text and "2 nodes: 1 %: 1.99 %" in drawn.text


def test_the_table_beside_the_curves():
    frame = downtime([3, 4, 5], down=0.1)
    assert list(frame.index) == [3, 4, 5]
    assert list(frame["may be down"]) == [1, 1, 2]
    assert list(frame["no majority, % of the time"]) == [2.8, 5.23, 0.856]
    assert list(frame["in a year"]) == ["10 d", "19 d", "3.1 d"]


@pytest.mark.parametrize("draw", [ladder, availability, downtime])
@pytest.mark.parametrize("sizes", [(), (0, 3), (10,)])
def test_sizes_that_cannot_be_drawn_are_refused(draw, sizes):
    with pytest.raises(ValueError, match="from 1 to 9"):
        draw(sizes)


@pytest.mark.parametrize("given", [Cluster(3, seed=1), Trace(), 5, "n1", [True], [1.5], None],
                         ids=lambda given: type(given).__name__)  # fmt: skip
def test_what_is_no_sizes_is_refused_in_words(given):
    for draw in (ladder, availability, downtime):
        with pytest.raises(TypeError, match=f"{draw.__name__} takes numbers of nodes, such as"):
            draw(given)
    for draw in (quorums, meetings):
        if given != 5:
            with pytest.raises(TypeError, match="a configuration is a number of nodes, names"):
                draw(given)


def test_a_part_of_the_time_is_from_0_to_1():
    with pytest.raises(TypeError, match="is a number, not a Trace"):
        downtime(down=Trace())
    with pytest.raises(ValueError, match="from 0 to 1, not 2"):
        downtime(down=2)
