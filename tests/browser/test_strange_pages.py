"""Pages of runs that nobody would make on purpose: keys that look like code, a trace of nothing."""

import pytest

from kvlearn import Cluster, delete, get, put, value
from kvlearn.trace import Trace
from kvlearn.viz.export import export
from kvlearn.viz.panels import PANES
from tests.browser import lab as tool

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if not tool.CHROMIUM:
    pytest.skip("no chromium found; set KVLEARN_CHROMIUM to one", allow_module_level=True)

STRANGE = (
    *("</script><script>window.reached = 1</script>", "<img src=x onerror='window.reached = 2'>"),
    *("a\"b'c`${window.reached = 3}", "l\u2028s\u2029p", "k" * 900, "\u202etxt", "{data}", "$&$1"),
    *("\x00\x07\x1b", "__proto__", "constructor", "toString", "💥" * 40),
)
SCRUB = """(part) => {
  const slider = document.querySelector('.kv-slider');
  slider.value = part * slider.max;
  slider.dispatchEvent(new Event('input'));
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
ASK_MANY = """() => [...document.querySelectorAll('.kv-ask-why')]
  .filter((_, k) => k % 4 === 0).map((mark) => {
  mark.dispatchEvent(new MouseEvent('click', { bubbles: true }));
  return document.querySelector('.kv-because').textContent;
})"""


@pytest.fixture
def page():
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=tool.CHROMIUM, args=tool.FLAGS)
        page, errors = browser.new_page(viewport={"width": 1200, "height": 900}), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
        yield page
        browser.close()
        assert errors == []


def strange() -> Cluster:
    cluster = Cluster(3, seed=7)
    cluster.wait_for_leader()
    client = cluster.client()
    for key, text in zip(STRANGE, reversed(STRANGE), strict=True):
        client.put(key, text)
    client.put(b"\xff\xfe\x00", b"\x80</script>")
    client.watch("", prefix=True, start_revision=2)
    lease = client.lease(60)
    for key in STRANGE[:4]:
        client.put(key, "2", lease=lease)
    txn = client.txn().if_(value(STRANGE[0]) == "2", value(STRANGE[1]) == "</script>")
    txn.then(put(STRANGE[1], "x")).else_(
        put(STRANGE[0], "</title><b>"), get("__proto__"), delete(STRANGE[2])
    ).commit()
    client.compact(5)
    return cluster


def test_keys_that_look_like_code_are_only_shown(page, tmp_path):
    export(strange(), tmp_path / "run.html", title="</title><script>window.reached = 9</script>")
    page.goto((tmp_path / "run.html").as_uri())
    page.wait_for_selector(".kvlearn-panel")
    for part in (1, 0.5, 0.8):
        page.evaluate(SCRUB, part)
        told = page.evaluate(ASK_MANY)
        assert len(told) > 30 and all(len(sentence) > 8 for sentence in told)
    assert page.evaluate("window.reached") is None
    assert page.evaluate("document.querySelectorAll('img, iframe').length") == 0
    shown = page.evaluate("document.querySelector('.kvlearn-panel').textContent")
    assert "</script><script>" in shown and "onerror" in shown


@pytest.mark.parametrize("subject", [Trace(), Cluster(1)], ids=["nothing", "before it began"])
def test_a_page_of_nothing_shows_its_panes(page, tmp_path, subject):
    export(subject, tmp_path / "run.html")
    page.goto((tmp_path / "run.html").as_uri())
    page.wait_for_selector(".kvlearn-panel")
    page.evaluate(SCRUB, 1)
    page.keyboard.press("ArrowLeft")
    assert page.locator(".kv-pane").count() == len(PANES)
    assert page.locator(".kv-pane .kv-body, .kv-pane svg").count() > 0


def test_an_exported_page_answers_for_promises_and_nodes(page, tmp_path):
    cluster = strange()
    export(cluster, tmp_path / "run.html", panes=["verdicts", "members"])
    page.goto((tmp_path / "run.html").as_uri())
    page.wait_for_selector(".kvlearn-panel")

    def asked(mark):
        page.locator(mark).first.click()
        return page.locator(".kv-because").text_content()

    page.evaluate(SCRUB, 1)
    assert asked("[data-kv-promise='Election Safety'] button") == (
        "Election Safety: kept: 1 term had a leader, and none had two."
    )
    page.keyboard.press("Escape")
    leader = asked(f".kv-ask-why[aria-label^='{cluster.leader}']")
    assert leader.startswith(f"{cluster.leader} becomes leader in term 1 with the votes of ")
    page.evaluate(SCRUB, 0.95)
    told = page.locator(".kv-lamp-kept").first.text_content()
    assert "kept" in told and "1 term" not in told, "the numbers of the end are not of then"
