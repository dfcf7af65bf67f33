"""Two runs side by side: where they part is true of both traces, and so are the ends."""

import pytest

from kvlearn import Cluster
from kvlearn.events import Crashed
from kvlearn.viz import compare
from kvlearn.viz.moment import line
from kvlearn.viz.svg import Svg


def fork() -> tuple[Cluster, Cluster]:
    """A run, and what became of it after one thing was done otherwise."""
    one = Cluster(3, seed=7)
    client = one.client()
    client.put("k", "1")
    client.watch("k")
    lease = client.lease(30)
    client.put("held", "x", lease=lease)
    one.run(0.5)
    other = one.fork()
    client.put("k", "2")
    one.run(3)
    other.crash(other.leader)
    other.run(4)
    other.client().put("<b>", '"3" & <i>')
    return one, other


def rows(difference) -> dict[str, tuple[str, str]]:
    return {row.what: (row.one, row.other) for row in difference.rows}


def test_the_first_record_that_differs_and_both_ends():
    one, other = fork()
    found = compare(one, other)
    same = found.seq
    assert list(one.trace)[:same] == list(other.trace)[:same]
    assert found.records == (one.trace[same], other.trace[same])
    assert one.trace[same] != other.trace[same] and isinstance(other.trace[same].event, Crashed)
    assert found and not found.equal and found.head == f"The runs part at record {same}."
    for record, said in zip(found.records, found.sentences):
        assert said == f"{record.time:.3f} s: {line(record)}"
    told = rows(found)
    assert told["leader"] == (one.leader, other.leader) and one.leader != other.leader
    for name in one.nodes:
        for view, text in zip((one.nodes[name], other.nodes[name]), told[name]):
            assert text.startswith(f"{view.role}, term {view.term}, commit {view.commit}, ")
            if view.alive:
                assert text.endswith(f"applied {view.applied}, revision {view.revision}")
    assert told["key k"] == ("2 (revision 4)", "1 (revision 2)")
    assert told["key <b>"] == ("–", '"3" & <i> (revision 4)')
    assert "key held" not in told, "it is alike in both"
    assert told["keys"] == ("2", "3")
    assert told["watch c1/w1"][0] == "k: synced, told 1 change, up to revision 4"
    assert any(what.startswith("lease ") and "of 30 s" in both[0] for what, both in told.items())


def test_what_has_ended_is_not_counted_as_alive():
    one = Cluster(3, seed=7)
    client = one.client()
    watch = client.watch("k")
    client.watch("k")
    lease, _ = client.lease(30), client.lease(30)
    one.run(0.5)
    other = one.fork()
    lease.revoke()
    watch.cancel()
    one.run(0.5)
    told = rows(compare(one, other))
    assert told["leases"] == ("2 (1 alive)", "2") and told["watches"] == ("2 (1 alive)", "2")


def test_it_shows_itself_as_text_frame_and_page():
    found = compare(*fork(), names=("calm", "crash"))
    text = str(found)
    assert found.sentences[0] in text and "≠ leader" in text and "  calm   " in text
    frame = found.frame()
    assert list(frame.columns) == ["calm", "crash", "differs"]
    assert frame.loc["leader", "differs"] and not frame.loc["leases", "differs"]
    assert len(frame) == len(found.rows)
    page = found._repr_html_()
    assert "&lt;b&gt;" in page and "<b>" not in page and "<i>" not in page
    assert "var(--jp-content-font-color1" in page and page.count("<table") == 1
    for row in found.rows:
        assert row.what.replace("<b>", "&lt;b&gt;").replace("'", "&#x27;") in page


def test_equal_runs_say_so():
    one, _ = fork()
    found = compare(one, Cluster.from_journal(one.journal()))
    assert found.equal and not found and found.seq is None
    until = one.trace[-1].time
    assert found.head == f"The runs are equal: {len(one.trace)} records, until {until:.3f} s."
    assert str(found) == found.head and found.head in found._repr_html_()


def test_one_run_is_the_beginning_of_the_other():
    one = Cluster(3, seed=7)
    one.run(1)
    other = one.fork()
    other.run(2)
    found = compare(one.trace, list(other.trace))
    assert found.seq == len(one.trace) and found.records[0] is None
    assert found.sentences[0] == "nothing more: the run ends here"
    assert compare(other, one).sentences[1] == "nothing more: the run ends here"


def test_long_values_that_differ_look_different():
    runs = []
    for end in "ab":
        cluster = Cluster(1, seed=1)
        cluster.client().put("k", "x" * 5000 + end)
        runs.append(cluster)
    one, other = rows(compare(*runs))["key k"]
    assert one != other and "5,001 bytes" in one and len(one) < 80


def test_a_long_table_is_cut_in_the_page_only():
    one, other = (Cluster(1, seed=1) for _ in range(2))
    client = one.client()
    for k in range(80):
        client.put(f"k{k}", "v")
    found = compare(one, other)
    assert "rows more: .frame() has all" in found._repr_html_() and len(found.frame()) > 80


def test_from_branch_to_branch_as_at_the_bench():
    """A moment is forked, one thing changed, the old branch opened again, both compared."""
    cluster = Cluster(3, seed=7)
    leader = cluster.wait_for_leader()
    cluster.client().put("k", "1")
    cluster.run_to(3.0)
    old, told = cluster.journal(), list(cluster.trace)
    cluster.rewind(2.0)
    cluster.crash(leader)
    cluster.run_to(6.0)
    new = cluster.journal()
    cluster.go_to(old)
    found = compare(cluster, Cluster.from_journal(new), ("old", "new"))
    assert list(cluster.trace) == told
    assert isinstance(found.records[1].event, Crashed) and found.records[1].node == leader
    assert rows(found)["leader"][0] == leader != rows(found)["leader"][1]


@pytest.mark.parametrize("wrong", [None, 3, "kv1-", [1], Svg("x", "", 1, 1, "", "", "")])
def test_what_is_no_run(wrong):
    with pytest.raises(TypeError):
        compare(wrong, Cluster(1).trace)
