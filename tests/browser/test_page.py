"""A run as one HTML file, opened from the disk: it plays, it tells the truth, it asks for nothing.

Measured times are printed; only gross failures fail, for a shared machine is too noisy.
"""

import json
import statistics
from random import Random

import pytest

from kvlearn.viz.export import export
from kvlearn.viz.panels import PANES
from kvlearn.viz.store_rows import LISTS
from kvlearn.viz.timeline_rows import RowCompiler
from tests.browser import lab as tool
from tests.viz.front_end import numbers
from tests.viz.runs import busy_run

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
if not tool.CHROMIUM:
    pytest.skip("no chromium found; set KVLEARN_CHROMIUM to one", allow_module_level=True)

LIMIT_BYTES = 500_000
SERIOUS = ("serious", "critical")
MOVE = """(us) => new Promise((done) => {
  const slider = document.querySelector('.kv-slider'), begun = performance.now();
  slider.value = us;
  slider.dispatchEvent(new Event('input'));
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun)));
})"""
STATES = """(seqs) => {
  const { line } = document.querySelector('.kvlearn-panel').kvBench;
  return seqs.map((seq) => {
    line.toRow(line.firstAfter((row) => row.seq > seq));
    const plain = (value) => (Array.isArray(value) ? value.map(plain) : value);
    const told = Object.entries(line.state).filter(([key, value]) => value !== null
      && !(Array.isArray(value) && !value.length) && !/^p\\d+$/.test(key));
    return Object.fromEntries(told.map(([key, value]) => [key, plain(value)]));
  });
}"""


@pytest.fixture(scope="module")
def run():
    return busy_run(7, 5000)


@pytest.fixture
def visit(browser, tmp_path):
    """Opens the page of a run; afterwards there was no error and no request but for the file."""
    pages = []

    def visit(cluster, wide=1600, dark=False, **options):
        path = tmp_path / f"run{len(pages)}.html"
        export(cluster, path, **options)
        scheme = "dark" if dark else "light"
        page = browser.new_page(viewport={"width": wide, "height": 1000}, color_scheme=scheme)
        page.errors, page.outside = [], []
        page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        ours = ("file:", "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(ours) else page.outside.append(r.url))
        page.goto(path.as_uri())
        page.wait_for_selector(".kvlearn-panel .kv-pane")
        pages.append(page)
        return page

    yield visit
    for page in pages:
        assert page.errors == [] and page.outside == []
        page.close()


def test_a_page_of_two_thousand_events_is_small(tmp_path, capsys):
    cluster = busy_run(7, 2000)
    text = export(cluster, tmp_path / "run.html")
    assert (tmp_path / "run.html").read_text(encoding="utf-8") == text
    with capsys.disabled():
        print(f"\n[measured] a page of {len(cluster.trace)} records: {len(text.encode())} bytes")
    assert len(text.encode()) <= LIMIT_BYTES


def test_a_page_shows_every_pane_and_no_control_that_needs_a_kernel(visit, run):
    page = visit(run)
    shown = page.locator(".kv-pane").evaluate_all("all => all.map((one) => one.dataset.kvPane)")
    assert shown == list(PANES)
    for action in ("put", "crash", "partition", "heal", "compact", "share", "revoke"):
        assert page.locator(f'[data-kv-action="{action}"]:visible').count() == 0, action


def test_the_state_in_the_browser_is_that_of_the_run_at_a_thousand_cursors(visit, run):
    page, rng = visit(run), Random(5)
    cursors = [rng.randrange(len(run.trace)) for _ in range(1000)]
    compiler, truth = RowCompiler(), {}
    for record in run.trace:
        compiler.row(record)
        if record.seq in cursors:
            told = json.loads(json.dumps([p for p in compiler.state() if p[0] != "packet"]))
            state = {k: numbers(v) if k.endswith(LISTS) else v for k, v in told}
            truth[record.seq] = {k: v for k, v in state.items() if v not in (None, [])}
    for start in range(0, len(cursors), 100):
        some = cursors[start : start + 100]
        for cursor, state in zip(some, page.evaluate(STATES, some), strict=True):
            assert state == truth[cursor], f"busy_run(7, 5000) at record {cursor}"


@pytest.mark.parametrize("records, most_ms", [(5_000, 100), (50_000, 250)])
def test_how_long_a_move_of_the_cursor_takes(visit, run, capsys, records, most_ms):
    page = visit(run if records == 5_000 else busy_run(3, records))
    rng = Random(1)
    low, high = (float(page.get_attribute(".kv-slider", edge)) for edge in ("min", "max"))
    took = sorted(page.evaluate(MOVE, rng.uniform(low, high)) for _ in range(25))
    with capsys.disabled():
        told = f"median {statistics.median(took):.0f} ms, worst {took[-1]:.0f} ms"
        print(f"\n[measured] cursor over {records} records, all panes: {told}; goal {most_ms} ms")
    assert statistics.median(took) < 4 * most_ms


def test_a_page_plays_by_keyboard(visit, run):
    page = visit(run, panes=["ring", "revisions"])
    page.focus('[data-kv-action="play"]')
    seq = "Number(document.querySelector('.kvlearn-panel').dataset.kvSeq)"
    page.keyboard.press("Home")
    page.wait_for_function("document.querySelector('.kvlearn-panel').dataset.kvTime === '0.000000'")
    page.keyboard.press("ArrowRight")
    first = page.evaluate(seq)
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_function(f"{seq} > {first}")
    page.keyboard.press("p")
    page.wait_for_function("document.querySelector('.kvlearn-panel').dataset.kvPlaying === 'true'")
    page.keyboard.press("p")
    page.keyboard.press("End")
    page.wait_for_function(f"{seq} === {len(run.trace) - 1}")


def test_why_is_answered_without_a_kernel(visit, run):
    page = visit(run, panes=["revisions"])
    page.locator("[data-kv-revision]").last.press("Enter")
    told = page.locator(".kv-why-box .kv-because").inner_text()
    assert "because" in told and page.locator('.kv-why-box [data-kv-action="goto"]').count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".kv-why-box").count() == 0


def test_a_trace_from_a_file_can_be_exported(visit, run, tmp_path):
    from kvlearn import Trace

    run.trace.save(tmp_path / "run.jsonl")
    page = visit(Trace.load(tmp_path / "run.jsonl"), panes=["ring"])
    assert page.get_attribute(".kvlearn-panel", "data-kv-seq") == str(len(run.trace) - 1)


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(visit, run, dark):
    page = visit(run, dark=dark)
    found = axe.Axe().run(page).response["violations"]
    told = [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in found if v["impact"] in SERIOUS]
    assert not told


def test_a_double_click_on_a_mark_takes_the_cursor_to_its_record(visit, run):
    page = visit(run, panes=["revisions"])
    mark = page.locator(".kv-mark[data-kv-revision]:not([data-kv-hole])").first
    mark.locator(".kv-hit").dblclick()
    seq = "Number(document.querySelector('.kvlearn-panel').dataset.kvSeq)"
    page.wait_for_function(f"{seq} < {len(run.trace) - 1}")
    assert page.locator(".kv-why-box").count() == 0
