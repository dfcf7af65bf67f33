"""Both futures in the panel: what is left is kept, can be gone to, compared, named, shared."""

import json

import comm
import pytest

from kvlearn import Cluster
from kvlearn.viz import panels
from tests.viz.front_end import Browser, FakeComm


@pytest.fixture(autouse=True)
def wire(monkeypatch):
    monkeypatch.setattr(comm, "create_comm", lambda *a, **k: FakeComm(*a, **k))
    monkeypatch.setattr(panels, "CHUNK_S", 60.0)


@pytest.fixture
def cluster():
    cluster = Cluster(5, seed=7)
    cluster.wait_for_leader()
    cluster.client().put("a", "1")
    cluster.run(1)
    return cluster


@pytest.fixture
def browser(cluster):
    return Browser(cluster.show())


def told(browser) -> list[str]:
    return [str(record) for record in browser.panel.cluster.trace]


def part(browser) -> tuple[list[str], list[str]]:
    """Go back to record 100 and crash a node there: the trace before, and the one afterwards."""
    old = told(browser)
    browser.command("crash", at=100, node="n2")
    browser.command("more", wall_s=0.5, speed=1.0)
    return old, told(browser)


def test_what_is_left_is_kept_and_one_can_go_back_and_forth(browser, cluster):
    old, new = part(browser)
    (lane,) = browser.futures
    assert lane["name"] == "future 1" and lane["records"] == len(old) and old != new
    here = cluster.now
    browser.command("open_future", name="future 1")
    assert told(browser) == old and not browser.errors
    (lane,) = browser.futures
    assert lane["to"] == round(here * 1e6)
    browser.command("open_future", name=lane["name"])
    assert told(browser) == new
    assert cluster.nodes["n2"].alive is False


def test_two_futures_are_compared_from_their_first_difference_on(browser, cluster):
    old, new = part(browser)
    browser.command("compare", name="future 1")
    found = browser.last_flags["compared"]
    first = next(k for k, (one, other) in enumerate(zip(new, old)) if one != other)
    assert found["first"] == first and not found["equal"]
    assert "n2 crashes" in found["here"] and "n2 crashes" not in found["there"]
    (time,) = [row for row in found["rows"] if row[0] == "time"]
    until = browser.panel.futures.find("future 1").now
    assert time[1:] == [f"{cluster.now:.3f} s", f"{until:.3f} s"]
    (ends,) = [row for row in found["rows"] if row[0] == "n2"]
    assert ends[1].startswith("down") and ends[2].startswith("follower")


def test_futures_are_named_and_forgotten_and_bad_names_are_refused(browser):
    part(browser)
    browser.command("rename_future", name="future 1", to="calm")
    assert [lane["name"] for lane in browser.futures] == ["calm"]
    browser.command("keep_future", name="stormy")
    assert [lane["name"] for lane in browser.futures] == ["calm", "stormy"]
    assert browser.notices[-1].startswith("Kept as 'stormy': 5 nodes, seed 7, ")
    assert " acts by hand, until " in browser.notices[-1]
    browser.command("rename_future", name="calm", to="stormy")
    assert "another future is called 'stormy' already" in browser.errors[-1]
    browser.command("keep_future", name="  ")
    assert "1 to 40 letters" in browser.errors[-1]
    browser.command("forget_future", name="calm")
    assert [lane["name"] for lane in browser.futures] == ["stormy"]
    browser.command("open_future", name="calm")
    assert "no future is called 'calm'; there are: 'stormy'" in browser.errors[-1]


def test_a_shared_code_opens_the_same_moment_elsewhere(browser, cluster):
    browser.command("share", at=150)
    code = browser.last_flags["code"]
    assert len(code) < 200
    other = Browser(Cluster(3, seed=1).show())
    other.command("open_code", code=code)
    assert not other.errors and told(other) == told(browser)[: len(told(other))]
    assert len(told(other)) >= 151 and other.state["n5.role"] == "follower"
    assert [lane["name"] for lane in other.futures] == ["future 1"]
    other.command("open_code", code=code[:-3] + "abc")
    assert other.errors and told(other) == told(browser)[: len(told(other))]


def test_futures_survive_in_a_file(browser, cluster, tmp_path):
    old, new = part(browser)
    path = str(tmp_path / "branches.json")
    browser.command("save_futures", path=path)
    other = Browser(Cluster(5, seed=7).show())
    other.command("load_futures", path=path)
    assert [lane["name"] for lane in other.futures] == ["present", "future 1"]
    assert other.notices[-1] == f"Loaded 2 runs from {path}."
    other.command("open_future", name="future 1")
    assert told(other) == old
    lanes = other.futures
    other.command("load_futures", path=path)
    assert other.futures == lanes
    assert other.notices[-1] == f"Loaded no runs from {path}; 2 runs in it are here already."
    other.command("load_futures", path=str(tmp_path / "none.json"))
    assert other.errors[-1] == f"{tmp_path / 'none.json'}: No such file or directory"
    (tmp_path / "branches.json").write_text("{")
    other.command("load_futures", path=path)
    assert "damaged" in other.errors[-1]


def test_a_step_back_that_changes_nothing_keeps_nothing(browser):
    browser.command("why", at=100, what=["node", "n1"], mark=None, number=1)
    assert browser.last_flags["why"]["sentence"] and browser.futures == []


def test_a_page_that_is_loaded_anew_is_told_of_the_futures(browser, cluster):
    part(browser)
    assert [lane["name"] for lane in Browser(browser.panel).futures] == ["future 1"]


def test_every_update_about_futures_keeps_the_budget(browser, cluster):
    for k in range(12):
        browser.command("crash" if k % 2 == 0 else "campaign", at=100 + k, node="n2")
        browser.command("more", wall_s=0.2, speed=1.0)
    browser.command("compare", name=browser.futures[-1]["name"])
    sizes = [size for data, _, size in browser.comm.log if data.get("method") == "custom"]
    assert len(browser.futures) <= 8 and max(sizes) <= 4096, json.dumps(max(sizes))
