"""What a panel has to stand in a real JupyterLab: a restarted kernel, a notebook opened again."""

import pytest

from tests.browser import lab as tool

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if not tool.CHROMIUM:
    pytest.skip("no chromium found; set KVLEARN_CHROMIUM to one", allow_module_level=True)

SMALL = (
    "from kvlearn import Cluster\ncluster = Cluster(5, seed=7)\ncluster.wait_for_leader()\n"
    "client = cluster.client()\nclient.put('colour', 'blue')\npanel = cluster.show()\npanel"
)
MOVED = "Math.abs(+b.dataset.kvTime - a) > 0.001"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    tool.write_notebook(folder / "restart.ipynb", SMALL)
    with tool.server(folder) as address:
        yield address


def choose(page, menu, command):
    page.click(f"#jp-MainMenu >> text={menu}")
    page.click(f".lm-Menu-item[data-command='{command}']")


def test_after_a_restart_the_panel_stays_plays_what_it_has_and_says_so(visit):
    visitor = visit("restart")
    visitor.run_all()
    page = visitor.page
    choose(page, "Kernel", "kernelmenu:restart")
    page.click(".jp-Dialog button.jp-mod-warn")
    visitor.until("b.hasAttribute('data-kv-gone')")
    assert "the last moment" in visitor.look("b.querySelector('.kv-trouble').textContent")
    roles = visitor.look("b.querySelectorAll('.kv-node[data-kv-role]').length")
    assert roles == 5, "the picture stays"
    then = float(visitor.look("b.dataset.kvTime"))
    visitor.press("dismiss")
    visitor.look("b.querySelector('.kv-slider').focus()")
    page.keyboard.press("Home")
    visitor.until(MOVED, then)
    visitor.press("play")
    visitor.until("+b.dataset.kvTime > 0")
    visitor.press("stop")
    page.keyboard.press("End")
    visitor.press("put")
    visitor.until("!b.querySelector('.kv-trouble').hidden")
    assert visitor.look("b.querySelectorAll('.kv-node[data-kv-role]').length") == 5
