"""The store's pictures: what they show is what state machines, watch hubs and leaders did."""

from __future__ import annotations

import gc
import re
import weakref
from random import Random
from xml.etree import ElementTree

import pytest

from kvlearn import Cluster, delete, get, put, value, version
from kvlearn import events as ev
from kvlearn.course.watch_mutants import WATCH_MUTANTS, WITNESSES
from kvlearn.errors import RequestError
from kvlearn.kv.leases import Compact, LeaseGrant, LeaseResult
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Command, DeleteRange, Put, Range
from kvlearn.kv.txn import Compare, Txn
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.revision import Revision
from kvlearn.mvcc.watch import WatchHub
from kvlearn.trace import Trace
from kvlearn.viz import fork, fork_now, leases, look_store, revisions, streams, trees, trees_dot
from kvlearn.viz.dot import engine, render_dot
from kvlearn.viz.moment import Moment
from kvlearn.viz.store_fold import StoreFold
from kvlearn.viz.svg import text_box
from kvlearn.viz.trees import grey_tree
from tests.viz import store_scenes as scenes

DRAWINGS = [revisions, trees, streams, leases, fork]
SCENES = [
    *(scenes.few, scenes.shop, scenes.long, scenes.strange, scenes.watched, scenes.leased),
    scenes.crowded,
]


def hooked(svg, name, **wanted):
    """The elements that carry the hook `data-kv-<name>` (and further ones with these values)."""
    root = ElementTree.fromstring(svg.html())
    found = [e for e in root.iter() if e.get(f"data-kv-{name}") is not None]
    return [e for e in found if all(e.get(f"data-kv-{k}") == str(v) for k, v in wanted.items())]


def texts(svg):
    """Every line of text of a picture with the rectangle that it takes."""
    root = ElementTree.fromstring(svg.svg())

    def walk(element, dx, dy):
        moved = re.fullmatch(r"translate\(([-\d.]+),([-\d.]+)\)", element.get("transform", ""))
        if moved:
            dx, dy = dx + float(moved[1]), dy + float(moved[2])
        if element.tag.endswith("}text"):
            size, anchor = float(element.get("font-size")), element.get("text-anchor", "start")
            x, y = float(element.get("x")) + dx, float(element.get("y")) + dy
            yield element.text, text_box(x, y, element.text, size, anchor)
        for child in element:
            yield from walk(child, dx, dy)

    return list(walk(root, 0.0, 0.0))


# Every picture ------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", DRAWINGS)
@pytest.mark.parametrize("scene", [*SCENES, lambda: scenes.Run("n1")])
def test_every_picture_is_xml_in_all_its_forms(draw, scene):
    drawn = draw(scene().trace)
    for markup in (drawn.html(), drawn.svg(), drawn.svg(dark=True)):
        root = ElementTree.fromstring(markup)
        assert not [e for e in root.iter() if e.tag.split("}")[-1] in ("b", "script")]
    assert drawn.text and drawn.title and drawn.desc
    assert not re.search(r"\bid=", drawn.html()) and "var(" not in drawn.svg()
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", drawn.text)


@pytest.mark.parametrize("draw", DRAWINGS)
def test_equal_traces_give_equal_bytes_wherever_the_cursor_was_before(draw):
    one, other = scenes.shop().trace, scenes.shop().trace
    for seq in (len(other) - 1, 9, 30):
        draw(other, seq=seq)
    for seq in (20, len(one) - 1):
        first, second = draw(one, seq=seq), draw(other, seq=seq)
        assert (first.svg(), first.text) == (second.svg(), second.text)


@pytest.mark.parametrize("scene", SCENES)
def test_a_saved_trace_is_drawn_as_the_run_was(scene, tmp_path):
    trace = scene().trace
    trace.save(tmp_path / "run.jsonl")
    loaded = Trace.load(tmp_path / "run.jsonl")
    for draw in DRAWINGS:
        assert draw(loaded).svg() == draw(trace).svg()


@pytest.mark.parametrize("draw", DRAWINGS)
def test_an_empty_trace_says_so_and_what_has_none_cannot_be_drawn(draw):
    assert "no node has started" in draw(Trace()).text
    with pytest.raises(TypeError, match="trace or a cluster"):
        draw(42)


@pytest.mark.parametrize("draw", DRAWINGS)
def test_at_is_a_time_and_seq_a_record(draw):
    trace = scenes.watched().trace
    for seq in (12, 40, len(trace) - 1):
        drawn = draw(trace, seq=seq)
        assert drawn.svg() == draw(trace, at=trace[seq].time).svg()
        assert drawn.svg() == draw(Moment.at(trace, seq)).svg()
    with pytest.raises(ValueError, match="not both"):
        draw(trace, at=1.0, seq=3)


@pytest.mark.parametrize("draw", DRAWINGS)
@pytest.mark.parametrize("scene", SCENES)
def test_no_two_lines_of_text_cover_each_other_or_leave_the_page(draw, scene):
    drawn = draw(scene().trace)
    found = texts(drawn)
    for told, box in found:
        inside = box.left >= 0 and box.right <= drawn.width + 1
        assert inside and 0 <= box.top and box.bottom <= drawn.height, told
    for number, (told, box) in enumerate(found):
        for other, second in found[number + 1 :]:
            shared = min(box.right, second.right) - max(box.left, second.left)
            deep = min(box.bottom, second.bottom) - max(box.top, second.top)
            assert shared <= 2 or deep <= 3, (told, other)


# The fold -----------------------------------------------------------------------------------


def program(seed, steps=60):
    """Random requests on three nodes, one of which is down for a while and loads a snapshot."""
    rng, run = Random(seed), scenes.Run()
    keys = ["a", "b", "c/1", "c/2", "d"]
    for number in range(steps):
        key, machine = rng.choice(keys), run.machines[run.leader]
        match rng.randrange(8):
            case 0 | 1 | 2:
                run.put(key, str(number), rng.choice([0, *machine.lessor.leases, 0x99]))
            case 3:
                run.delete(key, prefix=rng.random() < 0.5)
            case 4:
                compare = (Compare(key.encode(), "version", "greater", rng.randrange(3)),)
                ops = (Put(b"t", b"%d" % number), DeleteRange(key.encode()))
                run.enter(Txn(compare, ops, (Put(key.encode(), b"else"), Range(b"a"))))
            case 5:
                run.enter(Compact(rng.randrange(1, machine.revision + 2)))
            case 6:
                run.enter(LeaseGrant(rng.randrange(2, 9), number + 1))
            case 7:
                run.wait(rng.random() * 3)
        if number == steps // 2:
            run.elect("n2")
    return run


@pytest.mark.parametrize("seed", range(12))
def test_the_fold_is_what_the_machine_holds(seed):
    run = program(seed)
    machine, store = run.machines["n1"], look_store(run.trace)
    told = f"program({seed})"
    assert (store.revision, store.compacted) == (machine.revision, machine.store.compacted), told
    assert store.lines == {key: str(index) for key, index in machine.store.index.items()}, told
    there = [(change.at, change.kv) for change in store.changes if not change.removed]
    held = [(Revision.parse(at), kv) for at, kv in machine.backend.range()]
    assert there == held and not store.caveat, told
    held = {id: tuple(sorted(lease.keys)) for id, lease in machine.lessor.leases.items()}
    assert store.held == held, told
    assert {life.id for life in store.leases if not life.end} == set(machine.lessor.leases), told


@pytest.mark.parametrize("seed", range(6))
def test_a_fold_that_goes_on_is_a_fold_from_the_start(seed):
    trace = program(seed).trace
    fold = StoreFold(trace)
    for seq in range(0, len(trace), 17):
        went_on, fresh = fold.upto(seq).moment(), StoreFold(trace).upto(seq).moment()
        assert went_on == fresh, f"program({seed}) at record {seq}"


def test_a_fold_does_not_keep_its_trace():
    trace = scenes.few().trace
    look_store(trace)
    gone = weakref.ref(trace)
    del trace
    gc.collect()
    assert gone() is None


def test_every_node_has_its_own_moment():
    run = scenes.shop()
    for name in run.names:
        applied = [r.event for r in run.trace.of(ev.Applied, node=name)]
        store = look_store(run.trace, node=name)
        assert (store.node, store.applied) == (name, applied[-1].index)
        assert store.revision == applied[-1].revision
    assert look_store(run.trace).node == "n2"  # n1, which led, crashed early


def test_a_snapshot_is_filled_up_from_what_others_have_applied():
    run, late = scenes.shop(), Trace()
    for record in run.trace:
        if record.node != "n3" or record.seq < 12:
            late.add(record.time, record.node, record.event, None)
    late.add(9.0, "n3", ev.StateLoaded(run.index, 2, 13), None)
    store = look_store(late, node="n3")
    whole = look_store(run.trace).changes
    assert [c._replace(seq=0, time=0.0) for c in store.changes] == [
        c._replace(seq=0, time=0.0) for c in whole
    ]
    assert (store.node, store.revision, store.caveat) == ("n3", 13, "")


def test_what_the_trace_does_not_tell_is_said():
    run, cut = scenes.shop(), Trace()
    for record in run.trace:
        if not isinstance(record.event, ev.Applied) or record.event.index > 5:
            cut.add(record.time, record.node, record.event, None)
    for draw in (revisions, trees):
        assert "entries 1 to 5" in draw(cut).text and "entries 1 to 5" in draw(cut).svg()
    assert look_store(cut).missing == ((1, 5),) and look_store(cut).revision == 13


def test_refused_entries_change_nothing():
    trace = Trace()
    refused = Command("n1", 1, Put(b"a", b"1"))
    trace.add(0.1, "n1", ev.Applied(1, 1, refused, 1, "etcdserver: mvcc: database space exceeded"),
              None)  # fmt: skip
    assert look_store(trace).changes == () and "Nothing was ever written" in revisions(trace).text


def test_a_run_whose_revisions_go_astray_is_told():
    trace = Trace()
    trace.add(0.1, "n1", ev.Applied(1, 1, Command("n1", 1, Put(b"a", b"1")), 7), None)
    assert look_store(trace).astray == 1 and "log entry 1" in revisions(trace).text


def test_a_machine_s_own_history_is_the_fold_of_a_cluster():
    cluster = Cluster(3, seed=3)
    client = cluster.client(cluster.wait_for_leader())
    for number in range(6):
        client.put(f"k{number % 2}", str(number))
    client.delete("k0")
    cluster.run(0.5)
    store = look_store(cluster)
    assert store.revision == 8 and store.time == cluster.now
    assert [str(change) for change in store.changes][-1] == "8.0 delete k0"
    assert store.term_of(8) == store.reigns[-1].term


# Revisions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", [scenes.few, scenes.shop, scenes.watched, scenes.leased])
def test_every_change_is_a_mark_and_every_removed_one_a_hole(scene):
    trace = scene().trace
    store, drawn = look_store(trace), revisions(trace)
    marks = [e for e in hooked(drawn, "revision") if "kv-change" in e.get("class", "")]
    facts = {(c.revision, c.at.sub, c.kv.key_text, c.kind) for c in store.changes}
    names = ("revision", "sub", "key", "kind")
    seen = [tuple(e.get(f"data-kv-{name}") for name in names) for e in marks]
    assert {(int(r), int(s), k, kind) for r, s, k, kind in seen} == facts
    assert len(seen) == len(facts)
    holes = {(e.get("data-kv-revision"), e.get("data-kv-sub")) for e in hooked(drawn, "hole")}
    assert holes == {(str(c.revision), str(c.at.sub)) for c in store.holes}
    for change in store.changes:
        assert f"{change.at} {change.kind}" in drawn.text
    assert drawn.text.count("(gone)") == len(store.holes)


def test_holes_are_what_compaction_removed_and_nothing_else():
    run = scenes.shop()
    store = look_store(run.trace)
    assert [c.removed for c in store.holes] == [9] * 4
    for change in store.changes:
        left = run.machines["n2"].backend.get(change.at.key(tombstone=change.kind == "delete"))
        assert (left is None) == bool(change.removed)


def test_the_axis_tells_which_term_made_which_revision():
    drawn = revisions(scenes.shop().trace)
    assert "revisions: 2…7 term 1, 8…13 term 2" in drawn.text
    told = [e.text for e in ElementTree.fromstring(drawn.html()).iter() if e.text]
    assert "revisions 2 to 7: term 1" in told and "revisions 8 to 13: term 2" in told


def test_a_transaction_is_one_column():
    drawn = revisions(scenes.shop().trace)
    assert [e.get("data-kv-together") for e in hooked(drawn, "together")] == ["8"]


def test_the_frontier_stands_between_what_can_be_read_and_what_cannot():
    run = scenes.shop()
    (line,) = hooked(revisions(run.trace), "compacted", compacted=9)[1:]
    x = float(line.get("d").split(",")[0].removeprefix("M"))
    marks = {}
    for mark in hooked(revisions(run.trace), "sub"):
        shape = next(e.get("d") for e in mark if e.get("d"))
        marks[int(mark.get("data-kv-revision"))] = float(re.findall(r"[\d.]+", shape)[0])
    assert all((place < x) == (revision < 9) for revision, place in marks.items())


def test_many_revisions_are_windowed_and_what_is_left_out_is_said():
    trace = scenes.long(60).trace
    drawn = revisions(trace)
    shown = {int(e.get("data-kv-revision")) for e in hooked(drawn, "sub")}
    assert max(shown) == 61 and "earlier revisions are folded" in drawn.svg()
    assert int(re.search(r"… (\d+) earlier", drawn.svg())[1]) == min(shown) - 2
    few = revisions(trace, first=10, last=20)
    shown = {int(e.get("data-kv-revision")) for e in hooked(few, "sub")}
    assert shown == set(range(10, 21)) and "… 41 later revisions" in few.svg()


def test_chosen_keys_have_a_lane_each_and_too_many_are_counted():
    trace = scenes.strange().trace
    drawn = revisions(trace, keys=["many/03", b"\xff\x00\x1b", "never"])
    lanes = [e.get("data-kv-key") for e in hooked(drawn, "key") if e.get("class") == "kv-lane"]
    assert lanes == ["many/03", "never", "\\xff\\x00\\x1b"] and "never: never written" in drawn.text
    assert "… 4 more keys are not drawn." in revisions(trace).svg()


def test_pairs_with_a_lease_carry_its_mark():
    drawn = revisions(scenes.shop().trace)
    assert [e.get("data-kv-attached") for e in hooked(drawn, "attached")] == ["7b"]


# Trees --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("order", [3, 4, 8])
def test_the_grey_tree_holds_what_the_backend_holds(scene, order):
    run = scene()
    machine = run.machines[run.leader]
    tree = grey_tree(look_store(run.trace), order)
    held = [(Revision.parse(at), kv) for at, kv in machine.backend.range()]
    assert [(at, change.kv) for at, change in tree.range()] == held


def test_the_lit_key_leads_to_its_cells():
    run = scenes.watched()
    drawn = trees(run.trace, key="a")
    index = run.machines["n1"].store.index[b"a"]
    wanted = [str(Revision.parse(at)) for at in index.revisions]
    assert [e.get("data-kv-lookup") for e in hooked(drawn, "lookup")] == wanted
    assert [e.get("data-kv-leads") for e in hooked(drawn, "leads")] == wanted
    assert f"  {index}" in drawn.text.splitlines()


@pytest.mark.parametrize("scene", SCENES)
def test_the_twin_has_the_index_as_etcd_prints_it_and_every_leaf(scene):
    run = scene()
    store, drawn = look_store(run.trace), trees(run.trace)
    for line in store.lines.values():
        if "…" not in line:
            assert f"  {line}" in drawn.text
    for at, _ in grey_tree(store, 4).range():
        assert f" {at} " in drawn.text
    pages = grey_tree(store, 4).pages()[-1]
    assert drawn.text.count("  leaf: ") == len(pages)
    shown = [page for e in hooked(drawn, "page") for page in e.get("data-kv-page").split()]
    assert shown == [str(page.number) for page in pages]


def test_what_a_compaction_took_stays_as_an_outline():
    run = scenes.shop()
    drawn, tree = trees(run.trace), grey_tree(look_store(run.trace), 4)
    gone = {str(at) for page in tree.pages()[-1] for at in page.gone}
    told = {f"{e.get('data-kv-revision')}.{e.get('data-kv-sub')}" for e in hooked(drawn, "hole")}
    assert told == gone == {"2.0", "3.0", "4.0", "6.0"}


def test_the_dot_source_is_dot():
    for scene in SCENES:
        source = trees_dot(scene().trace)
        assert source.startswith("digraph") and source.count("{") == source.count("}")
        if engine() is not None and scene is not scenes.long:
            assert "<svg" in render_dot(source)


def test_a_page_of_fewer_than_three_records_is_refused():
    with pytest.raises(ValueError, match="at least 3"):
        trees(scenes.few().trace, order=2)


# Watches ------------------------------------------------------------------------------------


def test_lanes_are_what_the_streams_were_told():
    run = scenes.watched()
    store, drawn = look_store(run.trace), streams(run.trace)
    for life in store.watches:
        told = [
            (event.kv.key, event.kv.mod_revision)
            for record in run.trace.of(ev.Notified)
            if record.event.stream == life.stream
            for event in record.event.response.events
        ]
        assert [(one.event.kv.key, one.revision) for one in life.told] == told, life.name
        (lane,) = [e for e in hooked(drawn, "stream", stream=life.stream)]
        marks = [e for e in lane.iter() if e.get("data-kv-watch") == "told"]
        assert {int(e.get("data-kv-revision")) for e in marks} == {r for _, r in told}
        assert lane.get("data-kv-position") == str(life.position)


def test_the_position_is_where_the_hub_is():
    """As far as the stream can know: a quiet watcher's hub is further."""
    run = scenes.watched()
    for life in look_store(run.trace).watches:
        hub = run.hubs.get(life.served[-1].node)
        stream = hub.streams.get(life.stream) if hub else None
        if life.end or stream is None or life.behind:
            continue
        assert life.position < stream.watchers[life.watch_id].next, life.name


def test_every_fate_of_a_watcher_is_told():
    store = look_store(scenes.watched().trace)
    lives = {life.name: life for life in store.watches}
    assert lives["c1/w1"].end == "cancelled by its client"
    assert lives["c3/w1"].end == lives["c2/w2"].end == "compacted at 5"
    assert [store.changes[p].revision for p in lives["c1/w2"].pale] == [8]
    assert [store.changes[p].revision for p in lives["c3/w2"].behind] == [10, 11, 12]
    assert [one.node for one in lives["c2/w1"].served] == ["n3", "n2"]
    assert lives["c4/w1"].progress == (10,) and lives["c5/w1"].state == "synced"
    assert not any(life.missed for life in store.watches)


def test_while_nobody_serves_it_a_watcher_waits():
    run = scenes.Run()
    run.watch("c1/w1", "n3", "a")
    run.crash("n3")
    run.put("a", "1")
    (life,) = look_store(run.trace).watches
    assert (life.state, life.lost, life.told) == ("waiting", "n3 crashed", ())
    assert "waits: n3 crashed" in streams(run.trace).text


class Forgetful(WatchHub):
    """Leaves out every third change."""

    def notify(self, changes):
        if changes and changes[0].mod_revision % 3:
            super().notify(changes)


class Stutterer(WatchHub):
    """Tells everything twice."""

    def _send(self, watcher, revision, events):
        super()._send(watcher, revision, events)
        super()._send(watcher, revision, events)


def test_a_broken_hub_is_seen():
    for hub in (WatchHub, Forgetful, Stutterer):
        run = scenes.Run("n1", hub=hub)
        run.watch("c1/w1", "n1", "a")
        for number in range(6):
            run.put("a", str(number))
        (life,) = look_store(run.trace).watches
        drawn = streams(run.trace)
        missed = [look_store(run.trace).changes[place].revision for place in life.missed]
        assert missed == ([3, 6] if hub is Forgetful else [])
        assert len(hooked(drawn, "times", times=2)) == (6 if hub is Stutterer else 0)
        assert [e.get("data-kv-revision") for e in hooked(drawn, "watch", watch="missed")] == [
            str(revision) for revision in missed
        ]


def faults(trace):
    """What a lane shows of broken promises, wherever the cursor is."""
    found = set()
    for seq in range(len(trace)):
        for life in look_store(trace, seq=seq).watches:
            found |= {"missed"} if life.missed else set()
            found |= {"again" for told in life.told if told.times > 1}
            found |= {told.wrong for told in life.told if told.wrong}
    return found


@pytest.mark.parametrize("name", WATCH_MUTANTS)
def test_a_lane_shows_what_a_witness_convicts_and_nothing_of_the_hub_itself(name):
    witness = WITNESSES[WATCH_MUTANTS[name].witness]
    assert faults(witness(WatchHub)) == set()
    # One is canceled although it lacks nothing: a lane cannot tell that from a good reason.
    assert bool(faults(witness(WATCH_MUTANTS[name]))) == (name != "ForgetsTheQuiet")


# Leases -------------------------------------------------------------------------------------


def test_what_is_left_is_what_the_leader_s_lessor_says():
    run = scenes.leased()
    store = look_store(run.trace)
    lessor = run.machines["n3"].lessor
    assert {life.id for life in store.leases if not life.end} == set(lessor.leases)
    for life in store.leases:
        if not life.end:
            remaining = lessor.remaining(life.id, run.clock(store.time))
            assert life.left == pytest.approx(remaining, abs=0.01), life.id


def test_the_hooks_tell_lease_time_and_keys():
    run = scenes.leased()
    store, drawn = look_store(run.trace), leases(run.trace)
    rows = {e.get("data-kv-lease"): e for e in hooked(drawn, "lease")}
    assert set(rows) == {f"{life.id:x}" for life in store.leases}
    for life in store.leases:
        row = rows[f"{life.id:x}"]
        ttl = float(row.get("data-kv-ttl"))
        assert ttl == -1 if life.end else ttl == pytest.approx(life.left, abs=0.006)
        keys = [e.get("data-kv-attached") for e in row.iter() if e.get("data-kv-attached")]
        held = [key.decode() for key in store.held.get(life.id, ())]
        assert keys == held[: len(keys)] and (not held or keys)
        for name in held:
            assert name in drawn.text


def test_ends_and_new_counts_are_told():
    store = look_store(scenes.leased().trace)
    lives = {life.id: life for life in store.leases}
    assert (lives[0x10].end, lives[0x15].end) == ("expired", "revoked")
    assert (lives[0x11].keys, lives[0x11].revision) == ((b"service/a", b"service/b"), 16)
    assert [s.why for s in lives[0x12].stretches].count("keep-alive") == 5
    assert lives[0x19].stretches[-1].why == "checkpoint"
    assert lives[0x13].stretches[-1].why == "counted"
    assert [s.node for s in lives[0x13].stretches] == ["n1", None, "n3"]


def test_while_nobody_leads_nobody_counts():
    run = scenes.Run()
    run.enter(LeaseGrant(10, 5))
    run.wait(3)
    run.crash("n1")
    run.wait(3)
    run.tell("n2", ev.Paused())
    (life,) = look_store(run.trace).leases
    assert life.left is None and life.stretches[-1].node is None
    assert "nobody counts" in leases(run.trace).text
    (row,) = hooked(leases(run.trace), "lease")
    assert row.get("data-kv-ttl") == ""


def test_a_leader_s_clock_may_run_fast():
    run = scenes.Run("n1")
    run.enter(LeaseGrant(100, 5))
    before = look_store(run.trace).time
    run.trace.add(run.now, "n1", ev.LinksChanged("clock rate", 2.0), None)
    (life,) = look_store(run.trace, at=before + 10).leases
    assert life.left == pytest.approx(80, abs=0.01)


def test_a_store_may_raise_short_times():
    run = scenes.Run("n1")
    run.enter(LeaseGrant(3, 5))
    run.tell("c1", ev.Returned(1, "n1", LeaseResult(5, 9)))
    (life,) = look_store(run.trace).leases
    assert life.ttl_s == 9 and life.left == pytest.approx(9, abs=0.01)


# Forks --------------------------------------------------------------------------------------


def random_txn(rng, depth=0):
    keys = [b"a", b"b", b"c/1", b"d"]
    targets = {"version": 3, "create": 9, "mod": 12, "lease": 2}

    def compare():
        key, target = rng.choice(keys), rng.choice([*targets, "value"])
        operand = b"%d" % rng.randrange(9) if target == "value" else rng.randrange(targets[target])
        result = rng.choice(["equal", "greater", "less", "not_equal"])
        return Compare(key, target, result, operand, rng.choice([b"", b"", b"z"]))

    def branch(own):
        ops = [Range(b"a"), Put(b"%d%s" % (depth, own), b"x")][: rng.randrange(3)]
        if depth < 2 and rng.random() < 0.5:
            ops.append(random_txn(rng, depth + 1))
        return tuple(ops)

    compares = tuple(compare() for _ in range(rng.randrange(3)))
    return Txn(compares, branch(b"t"), branch(b"e"))


@pytest.mark.parametrize("seed", range(20))
def test_the_branch_drawn_is_the_branch_taken(seed):
    rng, run = Random(seed), program(seed, steps=20)
    txn = random_txn(rng)
    told = f"random_txn(Random({seed}))"
    now = fork_now(txn, run.trace)
    machine = KVMachine(MemoryBackend())
    for entry in run.log:
        machine.apply(*entry)
    try:
        result, error = machine.apply(run.index + 1, run.term, Command("n1", 1, txn))
    except RequestError as refusal:
        error = refusal
    run.enter(txn)
    drawn = fork(run.trace)
    if error is not None:
        assert f"refused: {error.text}" in drawn.text, told
        return
    (taken,) = hooked(drawn, "taken", taken="true")
    assert taken.get("data-kv-branch") == ("then" if result.succeeded else "else"), told
    assert hooked(now, "taken", taken="true")[0].get("data-kv-branch") == (
        taken.get("data-kv-branch")
    ), told
    for line in ("if", "then", "else"):
        assert [x for x in now.text.splitlines() if x.startswith(line)], told
    made = [(kv.key_text, kv.mod_revision) for kv in machine.changes]
    changes = [c for c in look_store(run.trace).changes if c.index == run.index]
    assert [(c.kv.key_text, c.revision) for c in changes] == made, told
    assert all(f"{c.at} " in drawn.text for c in changes), told


def test_a_fork_tells_what_each_comparison_saw():
    drawn = fork(scenes.shop().trace, revision=8)
    assert "+ stock value > 0 (saw 4)" in drawn.text
    assert "+ order/1 version = 0 (saw 0 (no such key))" in drawn.text
    holds = [e.get("data-kv-holds") for e in hooked(drawn, "compare")]
    assert holds == ["true", "true"] and "8.1 creates order/1=ann" in drawn.text
    other = fork(scenes.shop().trace)
    assert "- order/1 version = 0 (saw 1)" in other.text and "else (taken)" in other.text


def test_a_transaction_that_is_not_there_is_refused():
    trace = scenes.shop().trace
    for wrong in ({"index": 2}, {"revision": 3}):
        with pytest.raises(ValueError, match="no transaction"):
            fork(trace, **wrong)
    assert "No transaction" in fork(scenes.few().trace).text
    with pytest.raises(TypeError, match="transaction"):
        fork_now("put", trace)


# A real cluster -----------------------------------------------------------------------------


def test_the_pictures_of_a_real_run_agree_with_its_client():
    cluster = Cluster(3, seed=5)
    cluster.wait_for_leader()
    client = cluster.client()
    for number in range(4):
        client.put("a", str(number))
    watcher = client.watch("a", start_revision=2)
    lease, lock = client.lease(5), client.lease(6)
    client.put("job", "x", lease=lease)
    client.put("lock", "me", lease=lock)
    lock.keep_alive()
    txn = client.txn().if_(value("a") > "2", version("job") == 1)
    reply = txn.then(put("b", "x"), delete("a")).else_(get("a")).commit()
    cluster.crash(cluster.leader)
    cluster.run(9)
    store = look_store(cluster)
    told = [event.kv.mod_revision for event in watcher.events()]
    (life,) = store.watches
    assert [one.revision for one in life.told] == told and not life.missed
    assert len(life.served) == 2 and life.state == "synced"
    assert reply.succeeded and "then (taken)" in fork(cluster).text
    assert fork(cluster, revision=reply).svg() == fork(cluster).svg()
    assert "would take" in fork_now(txn, cluster).text
    lives = {one.id: one for one in store.leases}
    assert lives[lease.id].end == "expired" and lives[lease.id].keys == (b"job",)
    assert lives[lock.id].left == pytest.approx(lock.time_to_live().ttl_s, abs=1.1)
    machine = cluster.node(cluster.leader).machine if hasattr(cluster, "node") else None
    if machine is not None:
        assert store.lines == {key: str(index) for key, index in machine.store.index.items()}


def test_dots_are_in_the_legend_where_a_client_does_not_know_that_nothing_was_for_it():
    cluster = Cluster(3, seed=2)
    quiet, writer = cluster.client().watch("z"), cluster.client()
    writer.put("a", "1")
    words = "nothing was for it, and its client was not told so"
    assert words in [text for text, _ in texts(streams(cluster))]
    quiet.progress()
    assert words not in [text for text, _ in texts(streams(cluster))]


def test_two_changes_of_one_revision_stand_side_by_side():
    cluster = Cluster(3, seed=2)
    client = cluster.client()
    watcher = client.watch("a", "c")
    client.txn().then(put("a", "1"), put("b", "1")).commit()
    assert len(watcher.events()) == 2
    rows = {}
    for e in ElementTree.fromstring(streams(cluster).svg()).iter():
        if e.get("data-kv-revision") == "2":
            shape = next(part for part in e.iter() if part.tag.endswith("}path"))
            x, y = map(float, re.match(r"M([-\d.]+),([-\d.]+)", shape.get("d")).groups())
            rows.setdefault(y, []).append(x)
    assert len(rows) == 2, "the store and the watcher"
    for left, right in rows.values():
        assert abs(right - left) > 5
