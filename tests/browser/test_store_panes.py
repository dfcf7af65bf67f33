"""Watches, leases and transactions on the bench: what they show is what the trace says.

The panes are asked for their hooks at random moments; the truth is `look_store`.
"""

from random import Random

import pytest

from kvlearn.mvcc.revision import short
from kvlearn.viz.export import export
from kvlearn.viz.store_fold import look_store
from tests.browser import lab as tool
from tests.viz.runs import busy_run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if not tool.CHROMIUM:
    pytest.skip("no chromium found; set KVLEARN_CHROMIUM to one", allow_module_level=True)

PANES = ("watches", "leases", "txn")
SHOWN = """(seq) => {
  const bench = document.querySelector('.kvlearn-panel').kvBench, { line } = bench;
  line.toRow(line.firstAfter((row) => row.seq > seq));
  bench.player.draw();
  const all = (selector, root = document) =>
    [...root.querySelectorAll(selector)].map((one) => one.dataset);
  const fork = document.querySelector('[data-kv-fork]');
  return {
    seq: line.row().seq,
    first: Math.min(...all('[data-kv-pane="watches"] .kv-mark').map((mark) => +mark.kvRevision)),
    lanes: [...document.querySelectorAll('.kv-w-lane')].map((lane) => ({ ...lane.dataset,
      marks: all('[data-kv-revision]', lane).map((mark) => [+mark.kvRevision, mark.kvWatch]) })),
    leases: [...document.querySelectorAll('.kv-lease')].map((card) => ({ ...card.dataset,
      keys: all('[data-kv-attached]', card).map((key) => key.kvAttached) })),
    fork: fork && { ...fork.dataset,
      holds: all('[data-kv-compare]', fork).map((one) => one.kvHolds),
      taken: all('[data-kv-taken="true"]', fork).map((one) => one.kvBranch),
      effects: all('.kv-mark', fork).map((one) => `${one.kvRevision}.${one.kvSub}`) },
  };
}"""


@pytest.fixture(scope="module")
def run():
    run = busy_run(11, 2500)
    client = run.client()
    lease = client.lease(ttl_s=2)
    client.put("hangs", "1", lease=lease)
    client.lease(ttl_s=60).revoke()
    run.run(6)
    return run


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "run.html"
    export(run, path, panes=PANES)
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=tool.CHROMIUM, args=tool.FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector(".kvlearn-panel .kv-pane")
        yield page
        assert errors == []
        browser.close()


@pytest.fixture(scope="module")
def moments(run, page):
    """What the panes show and what the trace says, at 60 moments."""
    rng = Random(3)
    seqs = sorted({rng.randrange(len(run.trace)) for _ in range(60)} | {len(run.trace) - 1})
    shown = [page.evaluate(SHOWN, seq) for seq in seqs]
    return [(one, look_store(run.trace, seq=one["seq"])) for one in shown]


def test_a_lane_has_a_mark_for_every_event_and_says_how_it_stands(moments):
    lanes, kinds = 0, set()
    for shown, store in moments:
        lives = {life.name: life for life in store.watches}
        for lane in shown["lanes"]:
            life, where = lives[lane["kvWatch"]], f"{lane['kvWatch']} at record {shown['seq']}"
            assert lane["kvState"] == life.state, where
            assert lane["kvPosition"] == str(life.position), where
            over = life.end or life.lost == "its client is gone"
            true = {(told.revision, "wrong" if told.wrong else "told") for told in life.told}
            for kind in ("behind", "pale", "missed"):
                places = () if over and kind == "behind" else getattr(life, kind)
                true |= {(store.changes[place].revision, kind) for place in places}
            true = {(revision, kind) for revision, kind in true if revision >= shown["first"]}
            marks = set(map(tuple, lane["marks"]))
            assert marks <= true, where
            assert {r for r, _ in marks} == {r for r, _ in true}, where
            lanes, kinds = lanes + 1, kinds | {kind for _, kind in marks}
    assert lanes > 20 and {"told"} <= kinds, "the run has watches"


def test_a_lease_tells_what_is_left_and_what_hangs_on_it(moments):
    counted = ended = 0
    for shown, store in moments:
        lives = {f"{life.id:x}": life for life in store.leases}
        for card in shown["leases"]:
            life, where = lives[card["kvLease"]], f"{card['kvLease']} at record {shown['seq']}"
            keys = life.keys if life.end else store.held.get(life.id, ())
            assert card["keys"] == [short(key, 40) for key in keys[:12]], where
            if life.end:
                assert (card["kvEnded"], card["kvTtl"]) == (life.end, "-1"), where
            elif life.left is None:
                assert (card["kvState"], card["kvTtl"]) == ("idle", ""), where
            else:
                assert abs(float(card["kvTtl"]) - life.left) < 0.0501, where
            counted, ended = counted + (life.left is not None), ended + bool(life.end)
        alive = {id for id, life in lives.items() if not life.end}
        assert alive <= {card["kvLease"] for card in shown["leases"]}
    assert counted > 20 and ended, "the run has leases, and some end"


def test_a_fork_shows_the_way_that_was_taken(moments):
    forks = 0
    for shown, store in moments:
        told, where = shown["fork"], f"record {shown['seq']}"
        assert bool(told) == bool(store.forks), where
        if not told:
            continue
        fork, forks = store.forks[-1], forks + 1
        assert told["kvFork"] == str(fork.index), where
        assert told["holds"] == [str(one.holds).lower() for one in fork.seen[:9]], where
        way = [] if fork.error else ["then" if fork.succeeded else "else"]
        assert told["taken"] == way, where
        made = [str(change.at) for change in store.changes if change.index == fork.index]
        moved = fork.revision > fork.before
        assert told["effects"] == (made[:9] if moved else []), where
        assert told.get("kvRevision") == (str(fork.revision) if moved else None), where
    assert forks > 10, "the run has transactions"


def test_earlier_and_later_walk_over_all_transactions(run, page, moments):
    store = look_store(run.trace)
    page.evaluate(SHOWN, len(run.trace) - 1)
    seen = []
    for action in ("txn-earlier", "txn-later"):
        button = page.locator(f'[data-kv-action="{action}"]')
        for _ in range(len(store.forks)):
            seen.append(int(page.locator("[data-kv-fork]").get_attribute("data-kv-fork")))
            if button.get_attribute("aria-disabled") == "true":
                break
            button.focus()
            page.keyboard.press("Enter")
            page.wait_for_function(
                f"document.querySelector('[data-kv-fork]').dataset.kvFork != {seen[-1]}"
            )
    indices = [fork.index for fork in store.forks]
    assert seen == [*reversed(indices), *indices]
