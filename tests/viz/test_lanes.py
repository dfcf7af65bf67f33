"""The lanes of clients: what the picture shows is what the data say."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from kvlearn.viz import lanes
from kvlearn.viz.lanes import CALL, MOMENT, RETURN, Axis


def bar(client, row, text, call, end, **told):
    """A bar as `check.linearizable(...).lanes()` gives it."""
    base = {"moment": None, "place": None, "kind": "left", "core": False}
    return {"client": client, "row": row, "text": text, "call": call, "return": end, **base, **told}


def stale():
    """A stale read: two writes are placed, a read is stuck, and two others do not matter."""
    return {
        "bars": [
            bar("c1", 0, "write <1>", 0.0, 1.0, moment=0.4, place=1, kind="placed", core=True),
            bar("c2", 1, "write 2", 2.0, 3.0, moment=2.5, place=2, kind="placed", core=True),
            bar("c2", 2, "write 3 → ?", 2.5, None, kind="never"),
            bar("c3", 3, "read → <1>", 4.0, 5.0, kind="stuck", core=True),
            bar("c3", 3, "read → 2", 4000.0, 4000.0),
        ],
        "rows": ["c1", "c2", "c2", "c3"],
        "order": ["write <1>", "write 2"],
        "verdict": "violated",
        "why": "no order explains 5 operations of 3 clients; these 3 exclude each other:\n  ...",
        "left_out": 7,
        "text": "no order explains 5 operations of 3 clients\nc1: write <1>\x1b",
    }


def hooked(svg, name):
    """The elements that carry the hook `data-kv-<name>`."""
    root = ElementTree.fromstring(svg.html())
    return [e for e in root.iter() if e.get(f"data-kv-{name}") is not None]


def words(element):
    return [e.text for e in element.iter() if e.tag.endswith("}text")]


def test_every_operation_is_a_bar_with_its_words():
    drawn = lanes(stale())
    bars = hooked(drawn, "operation")
    assert [(b.get("data-kv-client"), b.get("data-kv-operation")) for b in bars] == [
        ("c1", "placed"),
        ("c2", "placed"),
        ("c2", "never"),
        ("c3", "stuck"),
        ("c3", "left"),
    ]
    assert [words(b)[0] for b in bars] == [one["text"] for one in stale()["bars"]]
    assert words(bars[2])[1] == "no answer"
    assert [b.get("data-kv-core") for b in bars] == ["", "", None, "", None]


def test_the_moments_stand_in_their_order_and_on_their_bars():
    drawn = lanes(stale())
    dots = hooked(drawn, "moment")
    assert [dot.get("data-kv-moment") for dot in dots] == ["1", "2"]
    assert [dot.get("data-kv-place") for dot in hooked(drawn, "place")] == ["1", "2"]
    for dot, shape in zip(dots, hooked(drawn, "place")):
        outline = next(e for e in shape.iter() if e.tag.endswith("}path")).get("d")
        xs = [float(x) for x in re.findall(r"([\d.]+),", outline)]
        assert min(xs) <= float(dot.get("cx")) <= max(xs)


def test_the_line_of_the_order_runs_below_all_words():
    markup = lanes(stale()).html()
    parts = [markup.index(f'class="kv-{name}"') for name in ("order", "bars", "moments")]
    assert parts == sorted(parts)


def test_verdict_and_what_is_left_out_are_said():
    drawn = lanes(stale())
    root = ElementTree.fromstring(drawn.html())
    assert root.get("data-kv-verdict") == "violated" and root.get("data-kv-picture") == "lanes"
    told = " ".join(words(root))
    assert "✗ not linearizable" in told and "7 more operations are not drawn." in told
    assert drawn.title == "5 operations, not linearizable"
    assert drawn.text.startswith("no order explains") and "\x1b" not in drawn.text
    assert "; these 3 exclude each other" in drawn.desc
    kept = stale() | {"verdict": "ok"}
    assert "✓ linearizable" in " ".join(words(ElementTree.fromstring(lanes(kept).html())))


def test_whatever_has_lanes_is_drawn():
    class Verdict:
        def lanes(self, limit):
            return stale() | {"left_out": limit}

    assert lanes(Verdict(), limit=7).svg() == lanes(stale()).svg()


def test_nobody_asked_anything():
    empty = stale() | {"bars": [], "rows": []}
    assert "Nobody asked anything" in lanes(empty).text
    ElementTree.fromstring(lanes(empty).html())


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_is_xml_without_ids(dark):
    markup = lanes(stale()).svg(dark)
    root = ElementTree.fromstring(markup)
    assert not re.search(r"\bid=", markup) and "var(" not in markup
    assert not [e for e in root.iter() if e.tag.endswith("}1")]  # "<1>" stayed text


def test_later_stands_further_right_and_nothing_overlaps_on_a_row():
    bars = stale()["bars"]
    axis = Axis(bars)
    places = [axis.places[instant] for instant in axis.instants]
    assert places == sorted(places)
    assert axis.x(4.0, CALL) + 16 < axis.x(5.0, RETURN) < axis.x(4000.0, CALL)
    assert axis.x(0.0, CALL) < axis.x(0.4, MOMENT) < axis.x(1.0, RETURN)
    assert axis.x(4000.0, RETURN) - axis.x(4000.0, CALL) >= 40  # an instant, drawn as a bar
    assert axis.right < 1000  # the hour in which nothing happened is folded
