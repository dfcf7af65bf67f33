"""The lab bench of a real cluster, without a browser: a story that is told bit by bit, and members
that are killed while it looks."""

from __future__ import annotations

import asyncio
import json
import shutil
import time

import comm
import pytest

from kvlearn import Cluster
from kvlearn.errors import MemberNotFound
from kvlearn.kv.config import StoreConfig
from kvlearn.trace import Trace
from kvlearn.viz import live_bench
from kvlearn.viz.panels import PANES
from kvlearn.viz.store_rows import LISTS
from kvlearn.viz.timeline_rows import RowCompiler
from tests.viz.front_end import Browser, FakeComm, numbers, resolved

UPDATE_BYTES = 4096


@pytest.fixture(autouse=True)
def wire(monkeypatch):
    monkeypatch.setattr(comm, "create_comm", lambda *a, **k: FakeComm(*a, **k))


class Page(Browser):
    """Remembers what was told last of everything."""

    def take(self, told: dict) -> None:
        self.flags = {**getattr(self, "flags", {}), **told}
        super().take(told)


def truth(trace: Trace) -> dict:
    """What a fresh fold of the trace says."""
    compiler = RowCompiler(config=StoreConfig(**trace.about.get("store", {})))
    for record in trace:
        compiler.row(record)
    state = dict(json.loads(json.dumps(compiler.state())))
    state = {k: numbers(v) if k.endswith(LISTS) else v for k, v in state.items()}
    return resolved(state, json.loads(json.dumps(compiler.tables)))


def agree(browser: Browser, trace: Trace) -> bool:
    shown, told = browser.shown(), truth(trace)
    return {k: shown.get(k) for k in told if k != "packet"} == {
        k: v for k, v in told.items() if k != "packet"
    }


# A recorded story ---------------------------------------------------------------------------


class Recorded:
    """A `Subject` that is told a recorded trace, some records at a time."""

    nodes = ("n1", "n2", "n3")

    def __init__(self, whole: Trace):
        self.whole, self.trace = whole, Trace(None, whole.about)
        self.store = StoreConfig()
        self.now, self.late_s, self.closed = 0.0, 0.0, False
        self.done: list[tuple] = []
        self.fails: Exception | None = None

    def tell(self, count: int) -> None:
        for record in self.whole[len(self.trace) : len(self.trace) + count]:
            self.trace.add(record.time, record.node, record.event, record.cause)
            self.now = record.time

    def settle(self, within_s: float) -> float:
        return self.late_s

    def do(self, verb: str, *args) -> None:
        self.done.append((verb, *args))
        if self.fails:
            raise self.fails

    def request(self, request, node: str = ""):
        self.do(str(request), node)

    def watch(self, request, node: str = "") -> str:
        self.do(str(request), node)
        return "stream 7"

    def unwatch(self, stream: str) -> None:
        self.do("unwatch", stream)

    def keep(self, lease: int, every_s: float) -> None:
        self.do("keep", lease)

    def unkeep(self, lease: int) -> None:
        self.do("unkeep", lease)

    def close(self) -> None:
        self.done.append(("close",))


@pytest.fixture
def subject():
    cluster = Cluster(3, seed=7)
    cluster.wait_for_leader()
    client = cluster.client()
    for number in range(5):
        client.put("a", str(number))
    return Recorded(cluster.trace)


@pytest.fixture
def bench(subject):
    subject.tell(60)
    bench = live_bench.LiveBench(subject, panes="all")
    yield bench
    bench.close()


@pytest.fixture
def browser(bench):
    return Page(bench)


def test_the_page_follows_the_story_as_it_is_told(subject, bench, browser):
    assert bench.opening_now()["real"] and agree(browser, subject.trace)
    while len(subject.trace) < len(subject.whole):
        subject.tell(17)
        bench.refresh()
        browser.listen()
        assert agree(browser, subject.trace)
        assert browser.now == round(subject.now * 1e6)
    assert browser.rows[-1][0] == len(subject.whole) - 1
    assert max(size for *_, size in bench.comm.log[1:]) <= UPDATE_BYTES
    assert bench.errors == []


def test_time_goes_on_when_nothing_happens(subject, bench, browser, monkeypatch):
    monkeypatch.setattr(live_bench, "TICK_S", 0.0)
    subject.now += 3
    bench.refresh()
    browser.listen()
    assert browser.now == round(subject.now * 1e6)


@pytest.mark.parametrize("verb", ["crash", "restart", "pause", "resume", "isolate"])
def test_what_is_done_to_a_member_is_done_now_wherever_the_cursor_stands(
    subject, bench, browser, verb
):
    browser.command(verb, node="n2", at=10)
    assert subject.done == [(verb, "n2")]
    assert len(subject.trace) == 60 and bench.hands.lines[-1].line == f'cluster.{verb}("n2")'
    browser.command(verb, node="n2", live=True)
    assert "past" not in browser.notices[-1]


def test_the_past_is_not_changed_and_the_panel_says_so(bench, browser):
    bench._start = lambda *more: None  # it lasts
    browser.command("pause", node="n1", at=10)
    assert browser.notices[-1].startswith(live_bench.PAST)


def test_links(subject, bench, browser):
    browser.command("partition", side=["n1"])
    browser.command("heal")
    assert subject.done == [("partition", ["n1"], ["n2", "n3"]), ("heal",)]


def test_what_only_a_simulator_can_do_says_why(subject, bench, browser):
    for op in ("step", "next", "more"):
        browser.command(op, wall_s=1)
        assert "Time is real" in browser.notices[-1]
    for op in ("keep_future", "share", "open_code"):
        browser.command(op, name="x", code="x")
        assert "one future only" in browser.errors[-1]
    for op in ("drop", "delay", "deliver", "duplicate", "campaign"):
        browser.command(op, packet=1, node="n1")
        assert "nobody can do that to a real cluster" in browser.errors[-1]
    assert subject.done == []


def test_what_goes_wrong_is_told(subject, bench, browser):
    subject.fails = ValueError("n2 is down; restart it first")
    browser.command("pause", node="n2")
    assert browser.errors == ["n2 is down; restart it first"]
    subject.fails = MemberNotFound()
    browser.command("member_remove", name="n2")
    assert browser.flags["asked"][3:] == ["etcdserver: member not found", False]
    browser.command("put", key="", value="1")
    assert browser.flags["refused"]["field"] == "key"


def test_watches_and_leases_of_the_panel(subject, bench, browser):
    browser.command("watch", key="a", span="prefix", node="n2")
    assert bench.hands.lines[-1].line == 'watch_1 = client.watch("a", prefix=True)'
    [[name, what]] = browser.flags["watches"]
    assert name == "panel/watch_1" and subject.done[-1][1] == "n2"
    browser.hello()
    browser.command("unwatch", stream=name)
    assert subject.done[-1] == ("unwatch", "stream 7") and browser.flags["watches"] == []
    browser.command("unwatch", stream=name)
    assert browser.flags["refused"]["field"] == "stream"
    browser.command("lease_keep", lease="7", ttl="10")
    assert subject.done[-1] == ("keep", 7) and bench.hands.kept() == [7]
    browser.command("lease_unkeep", lease="7")
    assert subject.done[-1] == ("unkeep", 7) and bench.hands.kept() == []


def test_a_new_member_has_the_next_name(subject, bench, browser):
    browser.command("member_new", name="n9")
    assert browser.flags["refused"] == {
        "field": "name",
        "why": "the next member of this cluster is called n4",
    }
    browser.command("member_new", name="n4", learner=True)
    assert subject.done == [("add_node", True)]
    for known in ("member_add", "member_new"):  # who was removed has no way back
        browser.command(known, name="n2")
        why = "n2 is a member, or was one, and no number is given twice: the next is called n4"
        assert browser.flags["refused"] == {"field": "name", "why": why}
    assert subject.done == [("add_node", True)]


def test_who_lags_behind_says_so(subject, bench, browser, monkeypatch):
    monkeypatch.setattr(live_bench, "TICK_S", 0.0)
    subject.late_s = 12.0
    bench.refresh()
    browser.listen()
    assert "12 s behind" in browser.flags["notice"]
    subject.late_s = 0.1
    bench.refresh()
    browser.listen()
    assert browser.flags["notice"] == ""


def test_where_too_much_happens_the_panel_goes_on_to_what_is_now(
    subject, bench, browser, monkeypatch
):
    monkeypatch.setattr(live_bench, "MOST_PENDING", 20)
    rows = len(browser.rows)
    subject.tell(200)
    bench._open = False  # the page is told nothing meanwhile
    bench.refresh()
    bench._open = True
    bench.refresh()
    browser.listen()
    assert agree(browser, subject.trace) and live_bench.SKIPPED in browser.notices
    assert browser.flags["reset"] == 0 and len(browser.rows) > rows, "the past comes after it"
    monkeypatch.undo()
    monkeypatch.setattr(comm, "create_comm", lambda *a, **k: FakeComm(*a, **k))
    subject.tell(50)
    bench.refresh()
    browser.listen()
    assert agree(browser, subject.trace) and browser.complete and bench.errors == []
    assert [row[0] for row in browser.rows][-1] == len(subject.trace) - 1


def test_promises_are_judged_in_a_thread_on_what_was_told_by_then(subject, bench, browser):
    assert browser.flags["verdicts"]["upto"] == len(subject.trace) - 1
    assert {lamp[3] for lamp in browser.flags["verdicts"]["list"]} <= {"kept", "nothing"}
    browser.command("check")
    assert browser.flags["checked"]["ok"] and browser.flags["checked"]["upto"] == 59
    subject.tell(1000)
    bench.refresh()
    browser.command("why", what=["promise", "Linearizability"], seq=59, number=1)
    assert "yet" not in browser.flags["why"]["sentence"]

    async def notebook():
        bench.desk._again = 0.0
        async with asyncio.timeout(30):
            while browser.flags["verdicts"]["upto"] < len(subject.trace) - 1:
                bench.refresh()
                await asyncio.sleep(0.01)
                browser.listen()

    asyncio.run(notebook())
    assert bench.errors == []


def test_the_panel_outlives_the_cluster(subject, bench, browser):
    subject.tell(30)
    subject.closed = True
    bench.refresh()
    browser.listen()
    assert browser.flags["ended"] == live_bench.ENDED and agree(browser, subject.trace)
    browser.command("crash", node="n1")
    assert browser.errors == ["the cluster has ended"] and subject.done == []
    late = Page(bench)
    assert late.flags["ended"] == live_bench.ENDED and agree(late, subject.trace)
    browser.command("why", what=["node", "n1"], number=1)
    assert browser.flags["why"]["sentence"]


def test_an_ended_cluster_is_looked_at_no_more(subject, bench):
    async def notebook():
        browser = Page(bench)
        subject.closed = True
        async with asyncio.timeout(30):
            while "ended" not in browser.flags:
                await asyncio.sleep(0.01)
                browser.listen()
            while not bench._timer.when() < asyncio.get_running_loop().time():
                await asyncio.sleep(0.01)  # the last beat starts no other
        assert bench.errors == []

    asyncio.run(notebook())


def test_numbers_that_a_browser_cannot_count_travel_as_digits():
    from kvlearn.events import Invoked
    from kvlearn.words import get

    trace = Trace()
    trace.add(0.0, "n1 clients", Invoked((1 << 62) + 1, "n1", get("a")), None)
    trace.add(0.0, "n1 clients", Invoked(7, "n1", get("a")), None)
    compiler = RowCompiler()
    assert [compiler.row(r).operation[0] for r in trace] == [str((1 << 62) + 1), 7]


# Real members -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def live():
    pytest.importorskip("grpc", reason="clients of real members speak gRPC")
    pytest.importorskip("lmdb", reason="a member's store is in LMDB")
    from kvlearn.live import LocalCluster

    with LocalCluster(3, heartbeat_ms=50, election_ms=500) as cluster:
        cluster.wait_for_leader(30)
        yield cluster


def until(page: Browser, condition, what: str) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)
        page.panel.refresh()
        page.listen()


def test_real_members_are_killed_and_come_back_before_ones_eyes(live):
    panel = live.show(panes="all")
    page = Page(panel)
    old = live.wait_for_leader(30)
    until(page, lambda: page.state.get(f"{old}.role") == "leader", "the leader was not seen")
    page.command("put", key="colour", value="blue")
    assert page.flags["asked"][2:] == ["put colour=blue", "ok · revision 2", True]
    page.command("crash", node=old)
    assert not live.is_alive(old)
    until(page, lambda: page.state[f"{old}.role"] == "down", "nobody saw that it is gone")
    roles = [f"{name}.role" for name in live.names]
    until(page, lambda: "leader" in map(page.state.get, roles), "nobody leads")
    page.command("restart", node=old)
    until(page, lambda: page.state[f"{old}.role"] == "follower", "it did not come back")
    page.command("get", key="colour", node=old)
    assert page.flags["asked"][3].startswith("colour=blue")
    page.command("transfer", to=old)
    assert page.flags["asked"][3:] == ["ok", True]
    page.command("watch", key="colour", span="one", node="")
    page.command("put", key="colour", value="red")
    told = [f"{name}.revision" for name in live.names]
    until(page, lambda: [page.state[one] for one in told] == [3, 3, 3], "not all have heard")
    assert agree(page, live.settled) and panel.errors == []
    assert all(size <= UPDATE_BYTES for *_, size in panel.comm.log[1:])
    settled, whole = list(live.settled), list(live.trace)
    assert [r.seq for r in whole[: len(settled)]] == [r.seq for r in settled]
    panel.close()
    live.wait_for_leader(30)


def test_all_panes_open_on_a_real_cluster_and_only_known_ones(live):
    panel = live.show(panes="all")
    assert panel.panes == list(PANES)
    panel.close()
    with pytest.raises(ValueError, match="no pane"):
        live.show(panes="door")
    live._traced = False
    with pytest.raises(ValueError, match="trace=False"):
        live.show()
    live._traced = True


def test_in_a_notebook_the_panel_follows_by_itself_until_the_cluster_ends(tmp_path):
    pytest.importorskip("lmdb", reason="a member's store is in LMDB")
    from kvlearn.live import LocalCluster

    async def notebook():
        cluster = LocalCluster(1, tmp_path / "d", heartbeat_ms=50, election_ms=500)
        cluster.wait_for_leader(30)
        panel = cluster.show()
        page = Page(panel)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        page.command("restart", node="n1")
        assert loop.time() - begun < 5, "the kernel waits for no member"
        async with asyncio.timeout(60):
            while not page.errors:
                await asyncio.sleep(0.02)
                page.listen()
            assert "n1 is running" in page.errors[0]
            page.command("crash", node="n1")
            while page.state.get("n1.role") != "down":
                await asyncio.sleep(0.02)
                page.listen()
            cluster.close()
            shutil.rmtree(tmp_path / "d")
            while "ended" not in page.flags:
                await asyncio.sleep(0.02)
                page.listen()
        panel.close()

    asyncio.run(notebook())
