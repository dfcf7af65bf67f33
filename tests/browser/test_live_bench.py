"""The lab bench of real members, in a real JupyterLab: killed by a click, and looked back at."""

import pytest

from tests.browser import lab as tool

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("grpc", reason="clients of real members speak gRPC")
pytest.importorskip("lmdb", reason="a member's store is in LMDB")
if not tool.CHROMIUM:
    pytest.skip("no chromium found; set KVLEARN_CHROMIUM to one", allow_module_level=True)

LIVE = (
    "from kvlearn.live import LocalCluster\nlive = LocalCluster(3, election_ms=500)\n"
    "live.wait_for_leader(30)\nclient = live.client()\nclient.put('colour', 'blue')\n"
    "live.show(panes=('ring', 'logs', 'spacetime', 'revisions', 'history', 'members'))",
)
END = (  # once somebody has put a key
    "import asyncio\nasync def end():\n    while not client.get('over').kvs:\n"
    "        await asyncio.sleep(0.1)\n    live.close()\n"
    "ends = asyncio.get_running_loop().create_task(end())"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    tool.write_notebook(folder / "light.ipynb", *LIVE)
    tool.write_notebook(folder / "end.ipynb", *LIVE, END)
    tool.write_notebook(folder / "dark.ipynb", *LIVE)
    with tool.server(folder) as address:
        yield address


def role(visitor, name, wanted):
    visitor.until(
        "b.querySelector(`[data-kv-node=${a[0]}]`).dataset.kvRole === a[1]", [name, wanted]
    )


def clock(visitor) -> float:
    return float(visitor.bench.get_attribute("data-kv-time"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_leader_is_killed_and_comes_back(visit, dark):
    visitor = visit("dark" if dark else "light", dark=dark)
    visitor.run_all()
    visitor.until("b.dataset.kvLeader")
    old = visitor.leader
    # It goes on by itself, and one can look back meanwhile.
    visitor.until("+b.dataset.kvTime > a + 1", clock(visitor))
    visitor.press("stop")
    held = clock(visitor)
    visitor.until("+b.querySelector('.kv-slider').max > (a + 0.7) * 1e6", held)
    assert clock(visitor) == held
    visitor.press("now")
    visitor.until("+b.dataset.kvTime > a + 0.7", held)
    # What only a simulator can do is not offered.
    assert not visitor.bench.locator('[data-kv-action="futures"]').count()
    visitor.node(old).click()
    offered = visitor.look(
        "[...b.querySelectorAll('[role=menu] button')].map(x => x.dataset.kvAction)"
    )
    assert offered == ["crash", "pause", "isolate", "ask", "why"]
    visitor.press("crash", old)
    role(visitor, old, "down")
    visitor.until("b.dataset.kvLeader && b.dataset.kvLeader !== a", old)
    visitor.bench.locator("input[name=key]").fill("city")
    visitor.bench.locator("input[name=value]").fill("Berlin")
    visitor.press("put")
    visitor.until("b.querySelector('.kv-reply').textContent.includes('city=Berlin → ok')")
    visitor.look(
        "b.querySelector('[data-kv-pane=revisions]').scrollIntoView()"
    )  # or it is not drawn
    visitor.until("b.querySelector('[data-kv-pane=revisions]').textContent.includes('Berlin')")
    visitor.node(old).click()
    visitor.press("restart", old)
    role(visitor, old, "follower")
    visitor.until("b.querySelector('.kv-notice').textContent.includes('serves again')")
    # In the past nothing is changed: what is done there happens now.
    visitor.look("b.kvBench.player.scrub(b.kvBench.line.firstUs() + 1e5)")
    follower = next(n for n in ("n1", "n2", "n3") if n not in (old, visitor.leader))
    visitor.look("b.kvBench.act('pause', { node: a })", follower)
    role(visitor, follower, "paused")
    assert visitor.look("b.querySelector('.kv-trouble').hidden")
    visitor.look("b.kvBench.act('resume', { node: a })", follower)
    role(visitor, follower, "follower")


def test_the_end_of_the_cluster_leaves_what_was_recorded(visit):
    visitor = visit("end")
    visitor.run_all()
    visitor.until("b.dataset.kvLeader")
    page = visitor.page
    visitor.bench.locator("input[name=key]").fill("over")
    visitor.press("put")
    visitor.until("b.hasAttribute('data-kv-gone')")
    assert "has ended" in visitor.look("b.querySelector('.kv-trouble').textContent")
    end = clock(visitor)
    visitor.look("b.querySelector('[data-kv-node]').focus()")
    page.keyboard.press("PageUp")
    visitor.until("+b.dataset.kvTime < a", end)
    page.keyboard.press("End")
    visitor.until("+b.dataset.kvTime === a", end)
