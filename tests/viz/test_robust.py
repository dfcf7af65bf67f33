"""What a panel has to stand: long traces, closed tabs, errors everywhere, many crashes.

A fake comm plays the front end (`front_end.py`), so every message is seen with its size.
"""

import json
import zlib

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
