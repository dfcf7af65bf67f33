"""The lanes of clients: what the picture shows is what the data, or the records, say."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from kvlearn import Cluster, check
from kvlearn.events import Invoked, Returned
from kvlearn.kv.directory import Publish
from kvlearn.kv.requests import Put, Range
from kvlearn.trace import Trace
from kvlearn.viz import lanes
from kvlearn.viz.lanes import CALL, MOMENT, RETURN, Axis, operations
from kvlearn.viz.story import tell
from kvlearn.viz.timeline_rows import RowCompiler
from tests.viz.test_store_runs import run_of


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


# Of a run -----------------------------------------------------------------------------------


def asked():
    """Two clients ask: an answer, a refusal, an answer that was lost, and one that is to come."""
    trace = Trace()
    trace.add(1.0, "c1", Invoked(1, "n1", Put(b"a", b"1")), None)
    trace.add(1.5, "c2", Invoked(2, "n2", Range(b"a")), None)
    trace.add(2.0, "c1", Returned(1, "n1", None, revision=2), None)
    trace.add(2.0, "c1", Invoked(3, "n3", Put(b"b", b"2")), None)
    trace.add(2.0, "c1", Returned(3, "n3", None, error="etcdserver: no leader"), None)
    trace.add(2.0, "c1", Invoked(4, "n2", Put(b"b", b"2")), None)
    trace.add(7.0, "c1", Returned(4, "n2", None, error="timed out", unknown=True), None)
    return trace


def test_a_run_is_drawn_with_what_was_asked_and_answered():
    drawn = lanes(asked())
    assert [b.get("data-kv-target") for b in hooked(drawn, "operation")] == ["n1", "n2", "n3", "n2"]
    kinds = [b.get("data-kv-operation") for b in hooked(drawn, "operation")]
    assert kinds == ["answered", "waiting", "refused", "unknown"]
    told = words(ElementTree.fromstring(drawn.html()))
    for line in (
        "c1 asks n1: put a=1 → ok, revision 2",
        "c2 asks n2: get a → no answer yet",
        "c1 asks n3: put b=2 → refused: etcdserver: no leader",
        "c1 asks n2: put b=2 → unknown: timed out (gave up at 7.000 s)",
    ):
        assert line in told
    assert [b for b in told if b in ("no answer yet", "outcome unknown")] == [
        "no answer yet",
        "outcome unknown",
    ]
    title = "4 operations of 2 clients at 7.000 s: 1 answered, 1 refused, 1 unknown, 1 waiting"
    assert drawn.title == title and drawn.text.startswith(title)


def test_what_a_member_asks_itself_is_no_clients_operation():
    trace = Trace()
    told = Publish("n1", "n1", ("http://127.0.0.1:2379",))
    trace.add(1.0, "n1 clients", Invoked(1, "n1", told), None)
    trace.add(1.2, "n1 clients", Invoked(2, "n1", Put(b"a", b"1")), None)
    trace.add(1.5, "n1 clients", Returned(1, "n1", None, revision=1), None)
    trace.add(2.0, "n1 clients", Returned(2, "n1", None, revision=2), None)
    assert [bar["asked"] for bar in operations(trace, 3)] == ["put a=1"]
    rows = [*map(RowCompiler().row, trace)]
    assert [row.operation and row.operation[0] for row in rows] == [None, 2, None, 2]
    for start_s in (0.0, 1.1):  # also where it was asked before the window
        calls = tell(trace, start_s, None, None).calls
        assert [(call.time, call.asks) for call in calls] == [(1.2, True), (2.0, False)]
    assert str(trace[0]) == f"n1 clients asks n1: {told}"  # the trace tells it


def test_what_happens_at_one_time_stands_in_the_order_of_the_records():
    data = operations(asked(), 6)
    axis = Axis([one | {"row": row} for row, one in enumerate(data)])
    places = [axis.start(data[0]), axis.start(data[1]), axis.end(data[0]), axis.start(data[2])]
    places += [axis.end(data[2]), axis.start(data[3])]
    assert places == sorted(places) and len(set(places)) == 6


def test_the_cursor_hides_what_comes_later():
    assert [one["kind"] for one in operations(asked(), 0)] == ["waiting"]
    assert "put a=1 (1.000 s): no answer yet" in lanes(asked(), at=1.7).text
    assert lanes(asked(), seq=1).text == lanes(asked(), at=1.5).text
    assert "Nobody asked anything" in lanes(asked(), at=0.5).text
    assert len(hooked(lanes(asked(), limit=2), "operation")) == 2
    with pytest.raises(ValueError, match="whole history"):
        lanes(stale(), at=1.0)
    with pytest.raises(TypeError, match="needs a trace or a cluster"):
        lanes(7)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_overlaps_on_a_row_of_a_real_run(seed):
    cluster = run_of(seed)
    for limit in (6, 40):
        drawn = lanes(cluster, limit=limit)
        rows = {}
        for shape in hooked(drawn, "operation"):
            outline = next(e for e in shape.iter() if e.tag.endswith("}path")).get("d")
            xs, ys = zip(*(map(float, xy) for xy in re.findall(r"([\d.]+),([\d.]+)", outline)))
            rows.setdefault(max(ys), []).append((min(xs), max(xs)))
        assert sum(map(len, rows.values())) == limit, f"run_of({seed})"
        for row in rows.values():
            row.sort()
            assert all(a[1] <= b[0] for a, b in zip(row, row[1:])), f"run_of({seed})"
        ElementTree.fromstring(drawn.svg(dark=True))


def test_a_verdict_and_its_run_are_drawn_by_the_same_function():
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    client.put("a", "1")
    client.get("a")
    verdict = check.linearizable(cluster)
    assert lanes(verdict).svg() == verdict.picture().svg()
    assert lanes(verdict).hooks == {"data_kv_verdict": "ok"}
    assert "data_kv_seq" in lanes(cluster).hooks
    assert len(hooked(lanes(cluster), "operation")) >= 2
