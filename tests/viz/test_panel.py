"""The bench without a browser: what every control does, what it costs, what it says.

A fake comm records each message with its size and plays the front end (`front_end.py`).
"""

import asyncio
import json

import comm
import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.viz import panels
from kvlearn.viz.feed import LIMIT_BYTES
from kvlearn.viz.store_rows import LISTS
from kvlearn.viz.timeline_rows import RowCompiler
from tests.viz.front_end import Browser, FakeComm, resolved

UPDATE_BYTES = 4096


@pytest.fixture(autouse=True)
def wire(monkeypatch):
    monkeypatch.setattr(comm, "create_comm", lambda *a, **k: FakeComm(*a, **k))
    monkeypatch.setattr(panels, "CHUNK_S", 60.0)  # a loaded machine must not change the story


@pytest.fixture
def cluster():
    cluster = Cluster(5, seed=7)
    cluster.wait_for_leader()
    return cluster


@pytest.fixture
def bench(cluster):
    return cluster.show()


@pytest.fixture
def browser(bench):
    return Browser(bench)


def truth(cluster):
    """What a fresh fold of the trace says, in the form of `Browser.shown`."""
    compiler = RowCompiler()
    for record in cluster.trace:
        compiler.row(record)
    state = {}
    for key, given in json.loads(json.dumps(compiler.state())):
        if key.endswith(LISTS):
            given = [first + k for first, count in given for k in range(count)]
        state[key] = given
    return resolved(state, json.loads(json.dumps(compiler.tables)))


def agree(browser, cluster):
    shown = {k: v for k, v in browser.shown().items() if not (k[0] == "p" and k[1:].isdigit())}
    return json.dumps(shown, sort_keys=True) == json.dumps(truth(cluster), sort_keys=True)


def updates(bench):
    return [size for data, _, size in bench.comm.log if data.get("method") in ("update", "custom")]


# What every control does ------------------------------------------------------------------------


def test_a_bench_opens_with_the_cluster_as_it_stands(browser, cluster):
    assert agree(browser, cluster)
    assert browser.state[f"{cluster.leader}.role"] == "leader"
    assert browser.complete and [row[0] for row in browser.rows] == list(range(len(cluster.trace)))


def test_crash_and_restart(browser, cluster):
    browser.command("crash", node="n2")
    assert not cluster.nodes["n2"].alive and browser.state["n2.role"] == "down"
    browser.command("restart", node="n2")
    assert cluster.nodes["n2"].alive and browser.state["n2.role"] == "follower"
    assert not browser.errors and agree(browser, cluster)


def test_pause_and_resume(browser, cluster):
    browser.command("pause", node="n2")
    assert browser.state["n2.role"] == "paused" == cluster.nodes["n2"].role
    browser.command("resume", node="n2")
    assert browser.state["n2.role"] == "follower"


def test_isolate_partition_and_heal(browser, cluster):
    browser.command("isolate", node="n1")
    assert ("n1", "n2") in cluster.cuts and len(cluster.cuts) == 8
    browser.command("partition", side=["n1", "n2"])
    assert len(cluster.cuts) == 12 and len(browser.state["cuts"]) == 12
    browser.command("heal")
    assert cluster.cuts == () and browser.state["cuts"] == []


def test_campaign_makes_a_candidate_of_a_follower():
    cluster = Cluster(5, seed=7, config=RaftConfig())
    cluster.wait_for_leader()
    browser = Browser(cluster.show())
    follower = next(name for name in cluster.nodes if name != cluster.leader)
    browser.command("campaign", node=follower)
    assert browser.state[f"{follower}.role"] == "candidate"
    assert browser.state[f"{follower}.votes"] == {follower: 1}


def test_with_pre_votes_campaign_only_asks(browser, cluster):
    follower = next(name for name in cluster.nodes if name != cluster.leader)
    browser.command("campaign", node=follower)
    state = browser.state
    assert state[f"{follower}.role"] == "follower" and state[f"{follower}.term"] == 1
    asked = [row for row in browser.rows if "asks for pre-votes" in row[2]]
    assert asked[-1][2].startswith(follower) and agree(browser, cluster)


def test_a_message_is_dropped_delayed_delivered(browser, cluster):
    numbers = [packet.number for packet in cluster.in_flight]
    assert len(numbers) >= 3, "a new leader's first entries are on the wire"
    drop, late, early = numbers[:3]
    browser.command("drop", packet=drop)
    assert drop not in [packet.number for packet in cluster.in_flight]
    due = {packet.number: packet.arrives_s for packet in cluster.in_flight}
    browser.command("delay", packet=late)
    assert {p.number: p.arrives_s for p in cluster.in_flight}[late] > due[late]
    assert browser.state[f"p{late}"] == round(1e6 * (due[late] + 10 * cluster.links.latency_s[1]))
    browser.command("deliver", packet=early)
    ended = [number for row in browser.rows for number in row[7]]
    assert drop in ended and early in ended and late not in ended


def test_put_get_and_delete_are_answered_as_time_goes_by(browser, cluster):
    for op, answer in (("put", "ok"), ("get", "a=1"), ("delete", "1")):
        browser.command(op, key="a", value="1", node="")
        assert browser.state["client.panel"][3] is None, "the request has to travel first"
        while browser.state["client.panel"][3] is None:
            browser.command("step")
        assert answer in browser.state["client.panel"][3] and browser.state["client.panel"][4]
    assert cluster.client().get("a").text is None


def test_a_request_that_nobody_can_answer_is_given_up(browser, cluster):
    for name in ("n1", "n2", "n3"):
        browser.command("crash", node=name)
    browser.command("put", key="a", value="1", node="n5")
    for _ in range(200):
        browser.send("more", wall_s=0.2, speed=1)
    *_, answer, well = browser.state["client.panel"]
    assert not well and ("timed out" in answer or "leader" in answer)
    browser.command("pause", node="n5")
    browser.command("put", key="a", value="1", node="n5")
    for _ in range(30):
        browser.send("more", wall_s=0.2, speed=1)
    answer = browser.state["client.panel"][3]
    assert answer.endswith("whether it was carried out is not known)"), "said once"


def test_more_lets_time_pass_as_the_screen_needs_it(browser, cluster):
    before = cluster.now
    browser.send("more", wall_s=0.2, speed=1)
    assert cluster.now == pytest.approx(before + 0.2)
    assert browser.last_flags["fed"] and browser.now == round(cluster.now * 1e6)
    cluster.run(1.0)
    while cluster.in_flight:
        cluster.step()
    quiet = cluster.now
    browser.send("more", wall_s=0.02, speed="follow")
    assert cluster.now == pytest.approx(quiet + 0.02), "real time while nothing flies"
    while not cluster.in_flight:
        cluster.step()
    flying = cluster.now
    browser.send("more", wall_s=0.02, speed="follow")
    assert cluster.now - flying < 0.005, "slow while something flies"


def test_step_and_next_decision_name_the_record_they_lead_to(browser, cluster):
    length = len(cluster.trace)
    browser.command("step")
    assert browser.last_flags["goal"] == length and browser.last_seq >= length
    browser.command("crash", node=cluster.leader)
    browser.command("next")
    goal = next(row for row in browser.rows if row[0] == browser.last_flags["goal"])
    assert goal[5] >= 1, "a decision"


def test_next_decision_in_a_quiet_cluster_says_that_it_is_quiet(browser, cluster):
    cluster.run(2.0)
    browser.command("next")
    assert "quiet" in browser.notices[-1]


# The cursor in the past -------------------------------------------------------------------------


def test_acting_in_the_past_takes_the_cluster_back_first(browser, cluster):
    cluster.run(1.2)
    browser.panel.refresh()
    browser.listen()
    then = next(row for row in browser.rows if row[1] > 1_500_000)
    length = len(cluster.trace)
    browser.command("crash", at=then[0], node="n2")
    assert cluster.now == pytest.approx(then[1] / 1e6, abs=1e-5) and len(cluster.trace) < length
    assert "went back" in browser.notices[-1] and not browser.errors
    assert browser.state["n2.role"] == "down" and agree(browser, cluster)


def test_going_back_to_before_a_verb_undoes_the_verb(browser, cluster):
    browser.command("crash", node="n2")
    crash = browser.last_seq
    browser.command("pause", at=crash - 1, node="n3")
    assert cluster.nodes["n2"].alive and cluster.nodes["n3"].role == "paused"
    assert agree(browser, cluster)


def test_each_message_of_a_moment_can_be_dropped_where_the_cursor_shows_it(browser, cluster):
    browser.command("crash", node=cluster.leader)
    browser.command("next")
    start = browser.rows[-1][1]
    asks = [row for row in browser.rows if row[6] and row[6][4] == "pre vote" and row[1] == start]
    assert len({row[1] for row in asks}) == 1 and len(asks) == 4, "all leave at one time"
    for ask in reversed(asks):
        browser.command("drop", at=ask[0], packet=ask[6][0])
        assert browser.errors == []
        assert ask[6][0] in browser.rows[-1][7], "dropped, and nothing after it"
        assert abs(browser.rows[-1][1] - ask[1]) <= 1 and agree(browser, cluster)
    browser.command("drop", at=browser.last_seq - 1, packet=asks[-1][6][0])
    dropped = [row[7] for row in browser.rows if "by hand" in row[2]]
    assert dropped == [[asks[-1][6][0]]], "what hands did after the cursor is undone"


@pytest.mark.parametrize("op", ["drop", "delay", "deliver"])
def test_lesson_02_the_vote_is_caught_at_each_record_where_its_dot_is_drawn(op):
    def stepped():
        cluster = Cluster(5, seed=8, config=RaftConfig.paper())
        cluster.wait_for_leader()
        cluster.client().put("colour", "blue")
        cluster.run(0.5)
        cluster.crash(cluster.leader)
        browser = Browser(cluster.show())
        for _ in range(60):
            browser.command("step")
        return browser

    seen = stepped().rows
    asks = (row for row in seen if row[6] and row[6][1:3] == ["n1", "n4"] and row[6][4] == "vote")
    ask = next(asks)
    number = ask[6][0]
    end = next(row[0] for row in seen if number in row[7])
    assert end - ask[0] > 5
    for at in range(ask[0], end):
        browser = stepped()
        browser.command(op, at=at, packet=number)
        assert browser.errors == []
        ended = [row for row in browser.rows if number in row[7]]
        assert bool(ended) == (op != "delay") and all(row[0] > ask[0] for row in ended)
        assert op != "drop" or "dropped by hand" in ended[0][2]
        assert op != "delay" or browser.state[f"p{number}"] > ask[6][6]


def test_what_hands_did_before_the_cursor_stays(browser, cluster):
    browser.command("put", key="a", value="1", node=cluster.leader)
    asked, *rest = [row for row in browser.rows if "a=1" in row[2]]
    assert rest and rest[0][1] == asked[1], "the leader appends it at the very time"
    browser.command("pause", at=asked[0], node="n3")
    assert browser.errors == [] and browser.state["client.panel"][2] == "put a=1"
    assert browser.state["n3.role"] == "paused" and agree(browser, cluster)


def test_a_rewind_in_a_cell_reaches_the_panel(browser, cluster):
    cluster.run(3.0)
    browser.panel.refresh()
    cluster.rewind(1.3)
    cluster.crash("n1")
    browser.panel.refresh()
    browser.listen()
    assert agree(browser, cluster) and browser.now == round(cluster.now * 1e6)
    assert browser.last_seq == len(cluster.trace) - 1


def test_a_rewind_into_a_merged_row_takes_it_back_as_a_whole(browser, cluster):
    cluster.run(30.0)
    browser.panel.refresh()
    browser.listen()
    merged = [row for row in browser.rows if row[8] > 50]
    assert merged, "thirty seconds of heartbeats are too much for single rows"
    cluster.rewind(merged[0][1] / 1e6 - 0.5)
    cluster.crash("n1")
    browser.panel.refresh()
    browser.listen()
    assert agree(browser, cluster)


# Members, snapshots, transfers ------------------------------------------------------------------


def test_a_node_that_comes_mid_way_goes_again_with_the_cursor(browser, cluster):
    before = browser.last_seq
    cluster.add_node("n6")
    browser.panel.refresh()
    browser.listen()
    assert browser.state["n6.role"] == "outside" and agree(browser, cluster)
    cluster.client().add_member("n6")
    cluster.run(0.5)
    browser.panel.refresh()
    browser.listen()
    assert browser.state["n6.role"] == "follower" and agree(browser, cluster)
    assert browser.state[f"{cluster.leader}.conf"][0] == ["n1", "n2", "n3", "n4", "n5", "n6"]
    assert browser.state[f"{cluster.leader}.peer.n6"] is not None
    browser.command("pause", at=before, node="n3")
    assert "n6" not in cluster.nodes and browser.state["n6.role"] is None
    assert browser.errors == [] and agree(browser, cluster)


def test_what_was_added_before_the_cursor_stays(browser, cluster):
    cluster.add_node("n6")
    browser.panel.refresh()
    browser.listen()
    cluster.run(0.5)
    (start,) = [row for row in browser.rows if row[2].startswith("n6 starts")]
    browser.command("pause", at=start[0], node="n3")
    assert "n6" in cluster.nodes and browser.state["n6.role"] == "outside"
    assert browser.errors == [] and agree(browser, cluster)


def test_leadership_is_transferred_and_the_answer_shown(browser, cluster):
    old = cluster.leader
    new = next(name for name in cluster.nodes if name != old)
    browser.command("more", wall_s=1.0)
    browser.command("transfer", to=new, node="")
    assert browser.state["client.panel"][2:4] == [f"move leader to {new}", None]
    assert browser.state[f"{old}.to"] == new
    browser.command("more", wall_s=8.0)
    assert cluster.leader == new and browser.state[f"{new}.role"] == "leader"
    assert browser.state["client.panel"][4] is True and browser.state["client.panel"][3]
    assert browser.state[f"{old}.to"] is None and agree(browser, cluster)


def test_a_compacted_log_begins_after_its_base_and_compacting_can_be_undone(browser, cluster):
    for key in "abc":
        cluster.client().put(key, "1")
    cluster.run(0.5)
    browser.panel.refresh()
    browser.listen()
    before = browser.last_seq
    browser.command("compact", node="n2")
    assert browser.errors == [] and browser.state["n2.base"] == [4, 1]
    assert browser.shown().get("n2.log") is None and len(browser.shown()["n1.log"]) == 4
    compacted = browser.last_seq
    browser.command("pause", at=compacted, node="n3")
    assert browser.state["n2.base"] == [4, 1] and agree(browser, cluster)
    browser.command("crash", at=before, node="n3")
    assert browser.state["n2.base"] is None and len(browser.shown()["n2.log"]) == 4
    assert browser.errors == [] and agree(browser, cluster)


def test_a_snapshot_in_parts_is_told_part_by_part():
    config = RaftConfig.etcd(snapshot_entries=6, kept_entries=1, chunk_records=2)
    cluster = Cluster(3, seed=5, config=config)
    cluster.wait_for_leader()
    browser = Browser(cluster.show())
    for k in range(9):
        cluster.client().put(f"k{k}", "v")
    cluster.add_node("n4")
    cluster.client().add_member("n4", learner=True)
    cluster.run(1)
    browser.panel.refresh()
    browser.listen()
    squares = [row for row in browser.rows if row[6] and row[6][4] == "snapshot"]
    parts = [p[2] for row in browser.rows for p in row[3] if p[0] == "n4.snap" and p[2]]
    assert len(squares) > 1 and [part[1] for part in parts] == sorted({part[1] for part in parts})
    assert browser.state["n4.role"] == "learner" and agree(browser, cluster)


# Other hands on the cluster ---------------------------------------------------------------------


def test_a_cell_that_moves_the_cluster_moves_the_panel(browser, cluster):
    cluster.client().put("a", "1")
    cluster.run(1.0)
    browser.panel.refresh()
    browser.listen()
    assert agree(browser, cluster)


def test_two_panels_show_the_same_cluster(bench, cluster):
    one, other = Browser(bench), Browser(cluster.show())
    one.command("crash", node="n1")
    other.panel.refresh()
    other.listen()
    assert other.state["n1.role"] == "down" and agree(one, cluster) and agree(other, cluster)
    cluster.run(1)
    other.command("restart", node="n1")
    one.panel.refresh()
    one.listen()
    assert agree(one, cluster)


def test_a_page_that_was_reloaded_is_told_everything_anew(bench, cluster):
    client = cluster.client()
    for k in range(40):
        client.put(f"key{k}", "x" * 30)
    cluster.run(20)
    bench.refresh()
    late = Browser(bench)
    assert agree(late, cluster)
    assert late.complete and late.rows[0][0] <= 10 and late.last_seq == len(cluster.trace) - 1
    assert max(updates(bench)) <= UPDATE_BYTES


def test_a_page_that_opens_late_does_not_disturb_the_first(bench, cluster):
    one = Browser(bench)
    cluster.run(0.3)
    other = Browser(bench)
    seen = [row[0] for row in one.rows]
    one.command("crash", node="n1")
    other.listen()
    assert [row[0] for row in one.rows][: len(seen)] == seen, "no reset"
    assert agree(one, cluster) and agree(other, cluster)


def test_a_long_log_is_told_whole(cluster):
    client = cluster.client()
    for k in range(300):
        client.put("key", f"value {k}")
    bench = cluster.show()
    assert len(json.dumps(bench.opening)) < 40_000
    assert agree(Browser(bench), cluster)
    assert max(updates(bench)) <= UPDATE_BYTES


def test_a_panel_that_nobody_sees_sends_nothing(bench, browser, cluster):
    browser.send("bye")
    sent = len(bench.comm.log)
    cluster.run(1)
    bench.refresh()
    assert len(bench.comm.log) == sent


# What it costs ----------------------------------------------------------------------------------


def test_every_update_of_a_busy_run_keeps_its_budget(bench, cluster):
    browser = Browser(bench)
    client = cluster.client()
    for round_ in range(12):
        for k in range(10):
            client.put(f"a rather long key of round {round_}, number {k}", "ü" * 50)
        browser.command("partition", side=["n1", "n2"])
        browser.send("more", wall_s=0.25, speed=10)
        browser.command("heal")
        browser.command("crash", node=cluster.leader or "n3")
        browser.send("more", wall_s=0.25, speed=10)
        for name, view in cluster.nodes.items():
            if not view.alive:
                browser.command("restart", node=name)
    told = updates(bench)
    assert len(told) > 100 and max(told) <= UPDATE_BYTES
    assert agree(browser, cluster) and not browser.errors


def test_the_fastest_speed_merges_heartbeats_and_says_so(browser, cluster):
    cluster.run(1)
    browser.panel.refresh()
    read = len(browser.panel.comm.log)
    browser.send("more", wall_s=0.25, speed=100)
    payloads = [json.loads(bytes(b[0])) for _, b, _ in browser.panel.comm.log[read:]]
    assert any(told.get("thinned") for told in payloads)
    assert agree(browser, cluster)
    records = sum(row[8] or 1 for told in payloads for row in told.get("rows", []))
    assert sum(len(told.get("rows", [])) for told in payloads) < records / 20


def test_that_a_speed_is_too_much_is_said_until_another_is_chosen(browser, monkeypatch):
    monkeypatch.setattr(panels, "CHUNK_S", 0.0)
    browser.send("more", wall_s=0.25, speed=100)
    assert browser.last_flags["notice"] == "The kernel manages 0 × here, not 100 ×."
    monkeypatch.setattr(panels, "CHUNK_S", 60.0)
    browser.send("more", wall_s=0.01, speed=100)
    assert "notice" not in browser.last_flags, "it does not flicker"
    browser.send("more", wall_s=0.01, speed=1)
    assert browser.last_flags["notice"] == ""
    browser.send("more", wall_s=0.01, speed=1)
    assert "notice" not in browser.last_flags, "what others said later stays"


def test_at_most_ten_updates_a_second_on_an_event_loop(cluster):
    async def busy():
        bench = cluster.show()
        Browser(bench)
        loop = asyncio.get_running_loop()
        start = loop.time()
        while loop.time() - start < 2.0:
            cluster.run(0.5)
            await asyncio.sleep(0.01)
        took, sent = loop.time() - start, len(updates(bench))
        bench.close()
        return sent, took

    sent, took = asyncio.run(busy())
    assert 5 <= sent <= 10 * took + 1


def test_the_module_that_is_sent_with_each_panel_is_small():
    assert len(panels.Bench._esm) + len(panels.Bench._css) < 270_000
    assert "import " not in panels.Bench._esm.replace("important", "")
    assert LIMIT_BYTES < UPDATE_BYTES


# Errors -----------------------------------------------------------------------------------------


def test_a_command_that_makes_no_sense_is_answered_in_words(browser, bench):
    browser.command("restart", node="n1")
    assert "n1 is running" in browser.errors[-1]
    browser.command("dance")
    assert "dance" in browser.errors[-1]
    browser.command("drop", packet=99999)
    assert "99999 is not on the wire" in browser.errors[-1]
    assert len(bench.errors) == 3 and "Traceback" in bench.errors[0]


def test_an_unexpected_error_is_shown_kept_and_does_not_stop_the_panel(browser, bench, cluster):
    browser.command("crash")
    assert "None" in browser.errors[-1]
    browser.command("put", key=["a"], value="1", node="")
    assert "TypeError" in browser.errors[-1] and "Traceback" in bench.errors[-1]
    done = browser.command("crash", node="n1")
    assert browser.last_flags["done"] == done and not cluster.nodes["n1"].alive


def test_a_panel_that_cannot_tell_says_so(browser, bench, monkeypatch):
    def broken():
        raise RuntimeError("the trace makes no sense")

    monkeypatch.setattr(bench.feed, "sync", broken)
    bench.refresh()
    browser.listen()
    assert browser.errors == ["RuntimeError: the trace makes no sense"]
    assert "Traceback" in bench.errors[-1]


def test_a_broken_promise_is_told_in_the_panel():
    from kvlearn import Raft

    class VotesForEverybody(Raft):
        def may_vote_for(self, *request):
            return True

    cluster = Cluster(5, seed=1, raft=VotesForEverybody)
    browser = Browser(cluster.show())
    for _ in range(200):
        for name in ("n1", "n2", "n3"):
            if cluster.nodes[name].role != "leader":
                browser.command("campaign", node=name)
        browser.send("more", wall_s=0.05, speed=1)
        if any("is broken" in error for error in browser.errors):
            break
    assert any("Election Safety is broken" in error for error in browser.errors)


# The static form --------------------------------------------------------------------------------


def test_the_static_form_travels_with_the_live_one(bench, monkeypatch):
    data, _ = bench._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/html"].startswith("<") and "data-kv-node" in data["text/html"]
    assert data["image/svg+xml"].lstrip().startswith("<svg")
    assert "leader" in data["text/plain"]
    monkeypatch.setenv("KVLEARN_STATIC", "1")
    data, _ = bench._repr_mimebundle_()
    assert sorted(data) == ["image/svg+xml", "text/html", "text/plain"]
