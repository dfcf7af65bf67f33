"""What a panel has to stand: long traces, closed tabs, errors everywhere, many crashes.

A fake comm plays the front end (`front_end.py`), so every message is seen with its size.
"""

import json
import zlib
from random import Random

import comm
import pytest

from kvlearn import Cluster
from kvlearn.viz import panels
from kvlearn.viz.feed import HISTORY_ROWS
from tests.viz.front_end import Browser, FakeComm
from tests.viz.runs import busy_run
from tests.viz.test_panel import UPDATE_BYTES, agree, updates

LONG = 50_000  # records


@pytest.fixture(autouse=True)
def wire(monkeypatch):
    monkeypatch.setattr(comm, "create_comm", lambda *a, **k: FakeComm(*a, **k))
    monkeypatch.setattr(panels, "CHUNK_S", 60.0)  # a loaded machine must not change the story


@pytest.fixture
def cluster():
    cluster = Cluster(5, seed=7)
    cluster.wait_for_leader()
    return cluster


# Fifty thousand records -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_run():
    return busy_run(7, LONG)


def test_a_page_on_a_long_run_holds_all_of_it_as_it_opens(long_run):
    bench = long_run.show()
    browser = Browser(bench)
    assert [row[0] for row in browser.rows] == list(range(len(long_run.trace)))
    assert browser.complete and agree(browser, long_run)
    sent = updates(bench)
    assert max(sent) <= UPDATE_BYTES and len(sent) < 5, "no row is told twice"
    packed = bench.get_state("history")["history"]
    assert len(packed) < 25 * LONG, "bytes a row"
    assert len(json.dumps(bench.opening)) < 100_000, "the first picture does not wait for the rest"


def test_acting_far_back_in_a_long_run_takes_the_page_along():
    cluster = busy_run(7, LONG)
    bench = cluster.show()
    browser = Browser(bench)
    then = browser.rows[2000]
    browser.command("crash", at=then[0], node="n2")
    assert browser.errors == [] and "went back" in browser.notices[-1]
    assert len(cluster.trace) < 2200 and browser.state["n2.role"] == "down"
    assert agree(browser, cluster) and max(updates(bench)) <= UPDATE_BYTES


def test_what_is_forgotten_of_a_very_long_run_is_not_said_to_be_complete(cluster, monkeypatch):
    from kvlearn.viz import feed

    monkeypatch.setattr(feed, "HISTORY_ROWS", 500)
    cluster.run(20)
    bench = cluster.show()
    browser = Browser(bench)
    assert 500 <= len(browser.rows) <= 600 < len(cluster.trace) and not browser.complete
    cluster.rewind(2.0)
    cluster.crash("n1")
    bench.refresh()
    browser.listen()
    assert agree(browser, cluster) and browser.errors == []
    assert browser.last_seq == len(cluster.trace) - 1


def test_browser_and_kernel_keep_as_many_rows():
    script = panels.Bench._esm
    assert f"MOST_ROWS = {HISTORY_ROWS}" in script and LONG < HISTORY_ROWS


# Pages come and go ------------------------------------------------------------------------------


def test_a_closed_tab_that_opens_again_is_told_only_what_it_lacks(cluster):
    client = cluster.client()
    bench = cluster.show()
    browser = Browser(bench)
    browser.send("bye")
    client.put("while", "nobody looked")
    cluster.run(0.3)
    bench.refresh()
    seen, sent = len(browser.rows), len(bench.comm.log)
    browser.hello()
    assert len(browser.rows) > seen and browser.last_seq == len(cluster.trace) - 1
    assert [row[0] for row in browser.rows] == list(range(len(cluster.trace)))
    told = [json.loads(bytes(b[0])) for _, b, _ in bench.comm.log[sent:] if b]
    assert not any("reset" in one or "older" in one for one in told), "its rows are good"
    assert agree(browser, cluster)


def test_a_closed_tab_learns_that_time_went_back_meanwhile(cluster):
    bench = cluster.show()
    cluster.run(1)
    bench.refresh()
    browser = Browser(bench)
    browser.send("bye")
    cluster.rewind(1.2)
    cluster.crash("n3")
    cluster.run(0.2)
    bench.refresh()
    browser.hello()
    assert agree(browser, cluster) and browser.last_seq == len(cluster.trace) - 1
    assert max(updates(bench)) <= UPDATE_BYTES


def test_a_page_that_is_loaded_again_opens_at_its_own_present(cluster):
    bench = cluster.show()
    first = Browser(bench)
    first.send("bye")
    for k in range(30):
        cluster.client().put(f"key {k}", "value")
    cluster.rewind(cluster.now - 0.05)
    cluster.crash("n2")
    second = Browser(bench)
    assert agree(second, cluster) and second.complete
    assert second.last_seq == len(cluster.trace) - 1
    packed = json.loads(zlib.decompress(bench.get_state("history")["history"]))
    assert [row[0] for row in packed["older"]] == list(range(len(cluster.trace)))


def test_two_panels_go_back_and_forth_between_futures(cluster):
    one, other = Browser(cluster.show()), Browser(cluster.show())
    for round_ in range(6):
        here, there = (one, other) if round_ % 2 else (other, one)
        here.send("more", wall_s=0.4, speed=1)
        middle = here.rows[len(here.rows) * 2 // 3][0]
        here.command("pause", at=middle, node=f"n{1 + round_ % 5}")
        there.panel.refresh()
        there.listen()
        assert agree(here, cluster) and agree(there, cluster)
        there.command("resume", node=f"n{1 + round_ % 5}")
        here.panel.refresh()
        here.listen()
        assert agree(here, cluster) and agree(there, cluster)
    assert one.futures and other.futures, "each has kept what it left"
    for browser in (one, other):
        browser.command("open_future", name=browser.futures[0]["name"])
        assert browser.errors == []
        for each in (one, other):
            each.panel.refresh()
            each.listen()
            assert agree(each, cluster)


# What goes wrong --------------------------------------------------------------------------------

VERBS = {
    **{op: {"node": "n2"} for op in ("crash", "restart", "pause", "resume", "isolate")},
    **{op: {"node": "n2"} for op in ("campaign", "compact")},
    "partition": {"side": ["n1"]},
    "heal": {},
    **{op: {"packet": 1} for op in ("drop", "delay", "deliver", "duplicate")},
    "step": {},
}
OF_HANDS = {
    "put": {"key": "a", "value": "1"},
    "get": {"key": "a"},
    "delete": {"key": "a"},
    "watch": {"key": "a"},
    "txn": {"compare": [], "then": [{"op": "put", "key": "a", "value": "1"}], "else": []},
}
ASKED = {
    "why": {"what": ["node", "n1"], "number": 1},
    "rule": {"rule": "may_vote_for", "number": 1},
    "check": {},
    "compare": {"name": "x"},
    "share": {},
    "keep_future": {"name": "x"},
    "open_code": {"code": "x"},
}


def breaks(*args, **keys):
    raise ZeroDivisionError("on purpose")


@pytest.mark.parametrize("op", [*VERBS, *OF_HANDS, *ASKED, "more", "next"])
def test_an_exception_in_any_callback_is_shown_and_nothing_is_lost(op, cluster, monkeypatch):
    bench = cluster.show()
    browser = Browser(bench)
    typed = {"node": "", **VERBS.get(op, {}), **OF_HANDS.get(op, {}), **ASKED.get(op, {})}
    before = len(cluster.trace)
    with monkeypatch.context() as broken:
        if op in VERBS:
            broken.setattr(type(cluster), op, breaks)
        elif op in OF_HANDS:
            broken.setattr(bench.hands, "do", breaks)
        elif op in ASKED:
            broken.setattr(bench, "_answer", breaks)
            broken.setattr(bench, "_future", breaks)
        else:
            broken.setattr(bench, {"more": "_advance", "next": "_next_decision"}[op], breaks)
        asked = browser.command(op, **{"wall_s": 0.1, **typed})
    assert browser.errors == ["ZeroDivisionError: on purpose"]
    assert browser.last_flags["done"] == asked and "ZeroDivisionError" in bench.errors[-1]
    assert len(cluster.trace) == before and agree(browser, cluster)
    browser.command("crash", node="n3")
    assert browser.state["n3.role"] == "down" and agree(browser, cluster)


def test_a_hundred_crashes_and_heals_from_the_panel(cluster):
    browser = Browser(cluster.show())
    rng = Random(5)
    for round_ in range(100):
        name = f"n{rng.randrange(1, 6)}"
        browser.command("partition", side=[name])
        browser.command("crash", node=name)
        browser.send("more", wall_s=0.05, speed=1)
        browser.command("heal")
        browser.command("restart", node=name)
        browser.send("more", wall_s=0.1, speed=1)
        if round_ % 10 == 0:
            assert agree(browser, cluster), f"round {round_} of Random(5)"
    assert browser.errors == [] and agree(browser, cluster)
    assert all(view.alive for view in cluster.nodes.values()) and cluster.cuts == ()
    assert max(updates(browser.panel)) <= UPDATE_BYTES and not browser.panel.errors


def session(browser, cluster, rng, steps):
    """Random hands on everything that a panel offers; what is refused is refused."""
    for number in range(steps):
        names, back = list(cluster.nodes), None
        if rng.random() < 0.15 and len(browser.rows) > 40:
            back = rng.choice(browser.rows[-40:])[0]
        op = rng.choice(OPS)
        packets = [packet.number for packet in cluster.in_flight] or [0]
        wide = "ü" * rng.choice((1, 5, 300))
        typed = {
            **{"node": rng.choice(names), "side": [rng.choice(names)], "wall_s": 0.1, "speed": 2},
            **{"packet": rng.choice(packets), "number": number, "who": browser.who},
            **{**OF_HANDS.get(op, OF_HANDS["txn"]), **ASKED.get(op, {})},
            **{"key": f"{rng.choice('abc')}{wide[:30]}", "value": wide, "revision": "0"},
            **{"lease": str(rng.randrange(1, 4)), "ttl": "3", "to": rng.choice(names)},
            **{"name": rng.choice(browser.futures or [{"name": "none"}])["name"]},
        }
        if op in ("keep_future", "rename_future"):
            typed |= {"to": f"{number} {wide[:30]}", "name": f"{number} {wide[:30]}"}
        if op == "txn" and rng.random() < 0.5:
            rows = [{"op": "put", "key": f"{k}{wide[:40]}", "value": wide} for k in range(9)]
            typed["then"] = rows
        browser.command(op, at=back, **typed)


FUTURE_OPS = ("open_future", "rename_future", "forget_future")
STORE_OPS = ("lease_grant", "lease_keep", "lease_revoke", "add", "remove", "transfer", "preview")
OPS = (*VERBS, *OF_HANDS, *ASKED, *FUTURE_OPS, *STORE_OPS, "more", "more", "more")


@pytest.mark.parametrize("seed", range(4))
def test_every_update_of_a_random_session_keeps_its_budget(seed, cluster):
    browser = Browser(cluster.show())
    session(browser, cluster, Random(seed), 150)
    told = updates(browser.panel)
    assert max(told) <= UPDATE_BYTES, f"seed {seed}"
    assert agree(browser, cluster), f"seed {seed}"
    ends = [text.splitlines()[-1] for text in browser.panel.errors]
    strange = [end for end in ends if not end.startswith(("kvlearn.", "ValueError: "))]
    assert len(told) > 150 and not strange, f"seed {seed}: {strange[:1]}"


def test_eight_futures_full_of_news_fit_into_one_update(cluster):
    browser = Browser(cluster.show())
    for number in range(10):
        start = browser.last_seq
        for _ in range(8):
            browser.command("crash", node="n4")
            browser.command("restart", node="n4")
        browser.command("keep_future", name=f"{number} " + "ü" * 38)
        browser.command("pause", at=start - 5, node="n5")
        browser.command("resume", node="n5")
    assert len(browser.futures) == 8
    assert set(browser.errors) == {"8 futures are kept, all with names; forget one first"}
    assert all(lane["marks"] for lane in browser.futures), "no lane is left without its news"
    assert max(updates(browser.panel)) <= UPDATE_BYTES
