"""The store's two trees, as in etcd's own picture: left the blue one, right the grey one.

The blue tree is the key index: it leads from a key to the revisions under which its records lie,
cut into generations; etcd prints a leaf of it as `{2.0 4.0 6.0(t)} {}`. The grey tree is the
backend: a B+tree from revision to record. Its leaves stand in the middle, face to face with the
index, and its root stands on the right. One key is unfolded: each of its revisions leads to the
leaf cell with the record. What a compaction took out of a leaf stays as an outline until something
is written into that page again.

The pages here are far smaller than the store's own, so that several are seen: the tree is grown
again from the history, with `order` records a page.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kvlearn.kv.requests import as_bytes
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.bptree import BPlusTree, Page
from kvlearn.mvcc.key_index import Generation
from kvlearn.mvcc.revision import KeyValue, Revision, short
from kvlearn.viz.dot import quoted
from kvlearn.viz.revisions import TOLD, hooks_of, nothing, tail
from kvlearn.viz.store_fold import Change, StoreMoment, look_store, newest
from kvlearn.viz.svg import Markup, Svg, el, fit, group, label, num, one_line, width, wrap
from kvlearn.viz.theme import SIZES, tone

WIDE = 700.0
LEFT, INDEX = 14.0, 236.0  # the blue tree: where it begins, how wide it is
LEAF, CELL = 312.0, 176.0  # the leaves: the same
REV = 54.0  # the part of a leaf cell that holds the revision
BRANCH, STEP = 46.0, 80.0  # a branch page's width, and from one level to the next
TOP = 64.0
ROW = 17.0
PAD, BETWEEN = 4.0, 9.0
KEYS = 16  # so many keys are drawn
MANY_LEAVES = 24  # from here on parts of the tree are folded up
OPEN_LEAVES = 6  # the last ones, and those of the key; the others are one row
UNFOLDED = 14  # so many of the key's revisions, the last ones, have a row
SMALL, MONO = SIZES["small"], 10.5


def trees(
    subject: Any,
    at: float | None = None,
    seq: int | None = None,
    *,
    key: str | bytes | None = None,
    order: int = 4,
    node: str | None = None,
) -> Svg:
    """Draw the two trees at one moment: of a trace, a cluster or a `Moment`.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    `key`: the one that is lit, default: the one that changed last; `order`: records in a page, at
    least 3; `node`: as that node has applied it (default: the one that is furthest).
    """
    if order < 3:
        raise ValueError(f"a page holds at least 3 records, not {order}")
    store = look_store(subject, at, seq, node)
    if not store.changes:
        return nothing("trees", store)
    lit = _lit(store, key)
    tree = grey_tree(store, order)
    cells, leaves, leaf_foot = _leaves(store, tree, lit)
    rows, index, index_foot = _index(store, lit)
    branches, right = _branches(tree, cells)
    bottom = max(leaf_foot, index_foot)
    wide = max(WIDE, right + 20)
    body = [
        _heads(store, len(tree.pages()) > 1, wide),
        group(_lines(rows, cells), class_="kv-lookups"),
        group(index, class_="kv-key-index"),
        group(branches, class_="kv-branches"),
        group(leaves, class_="kv-leaves"),
    ]
    notes = wrap(" ".join(_notes(store, tree, order)), wide - 28, SMALL, 3)
    for number, line in enumerate(notes):
        body.append(label(14, bottom + 22 + 14 * number, line, size=SMALL, tone="dim", halo=False))
    text = _text(store, tree, lit)
    title = f"Two trees at {store.time:.3f} s: revision {store.revision}, key {_name(lit, 30)}"
    high = bottom + 22 + 14 * len(notes)
    hooks = hooks_of(store) | {"data_kv_key": _name(lit, 200)}
    desc = text.replace("\n", "; ")
    return Svg("trees", "".join(body), wide, high, title, desc, text, hooks)


def grey_tree(store: StoreMoment, order: int) -> BPlusTree:
    """The backend's tree (Revision -> Change) with small pages, grown as the store's own was."""
    tree = BPlusTree(order)
    compactions = list(store.compactions)
    for change in store.changes:
        while compactions and compactions[0].now < change.revision:
            _compact(tree, store, compactions.pop(0).revision)
        tree.put(change.at, change)
    for compaction in compactions:
        _compact(tree, store, compaction.revision)
    return tree


def _compact(tree: BPlusTree, store: StoreMoment, revision: int) -> None:
    for change in store.changes:
        if change.removed == revision:
            tree.delete(change.at)


def _lit(store: StoreMoment, key: str | bytes | None) -> bytes:
    if key is not None:
        return as_bytes(key)
    there = [c for c in store.changes if c.kv.key in store.index] or store.changes
    return there[-1].kv.key


def _name(key: bytes, limit: int) -> str:
    return one_line(short(key, limit))


# The grey tree ------------------------------------------------------------------------------


class Cells(NamedTuple):
    """Where the cells and the pages stand."""

    at: dict[Revision, tuple[float, float]]  # of the cells that are drawn: the left edge
    pages: dict[int, tuple[float, float]]  # page number -> right edge and middle


class Strip(NamedTuple):
    """What is drawn as one box among the leaves: a leaf, or a part of the tree folded up."""

    leaves: list[Page]
    whole: bool  # with all of its cells
    stands_for: list[int]  # the numbers of the pages whose place it takes


def _leaves(store: StoreMoment, tree: BPlusTree, lit: bytes) -> tuple[Cells, list[Markup], float]:
    """The leaves from top to bottom, in the order of their revisions."""
    cells, parts, y = Cells({}, {}), [], TOP
    for strip in _strips(tree, _wanted(store, lit)):
        rows = _page_rows(strip.leaves[0]) if strip.whole else []
        high = ROW * max(1, len(rows)) + 2 * PAD
        drawn = [_page_box(LEAF, y, CELL, high, strip.leaves[0], len(strip.leaves))]
        if not strip.whole:
            drawn += _folded(strip.leaves, y + PAD)
        elif not rows:
            drawn.append(label(LEAF + 8, y + PAD + 12, "empty", size=SMALL, tone="dim", halo=False))
        for place, (at, change) in enumerate(rows):
            top = y + PAD + ROW * place
            drawn += _cell(at, change, top, lit)
            if change is not None:
                cells.at[at] = (LEAF + PAD, top + ROW / 2)
        for number in strip.stands_for:
            cells.pages[number] = (LEAF + CELL, y + high / 2)
        numbers = " ".join(str(page.number) for page in strip.leaves)
        parts.append(group(drawn, class_="kv-page", data_kv_page=numbers))
        y += high + BETWEEN
    return cells, parts, y


def _wanted(store: StoreMoment, lit: bytes) -> set[Revision]:
    """The revisions of the lit key that have a row in the index, and so lead to a leaf."""
    lives = store.index.get(lit, ())
    return set([at for life in lives for at in life.revisions][-UNFOLDED:])


def _strips(tree: BPlusTree, wanted: set[Revision]) -> list[Strip]:
    """The leaves; of very many, whole parts of the tree that nothing leads to are folded up."""
    leaves = tree.pages()[-1]
    many, latest = len(leaves) > MANY_LEAVES, {page.number for page in leaves[-OPEN_LEAVES:]}

    def below(page: Page) -> list[Page]:
        return [page] if page.is_leaf else [leaf for one in page.children for leaf in below(one)]

    def numbers(page: Page) -> list[int]:
        return [n for one in page.children or () for n in numbers(one)] + [page.number]

    def is_whole(page: Page) -> bool:
        return page.number in latest or not wanted.isdisjoint(page.keys)

    def visit(siblings: list[Page]) -> list[Strip]:
        strips: list[Strip] = []
        folded = None
        for page in siblings:
            under = below(page)
            opens = any(map(is_whole, under))
            if not page.is_leaf and (opens or not many):
                strips += visit(page.children)
            elif many and not opens and strips and strips[-1].stands_for[-1] == folded:
                strips[-1].leaves.extend(under)
                strips[-1].stands_for.extend(numbers(page))
            else:
                strips.append(Strip(under, opens, numbers(page)))
            folded = page.number if many and not opens else None  # the next one may join it
        return strips

    return visit([tree.root])


def _page_rows(page: Page) -> list[tuple[Revision, Change | None]]:
    """A leaf's cells in order, holes (None) among them."""
    there = dict(zip(page.keys, page.values))
    return sorted((there | dict.fromkeys(page.gone)).items())


def _page_box(x: float, y: float, wide: float, high: float, page: Page, pages: int = 1) -> Markup:
    kind = "leaf" if page.is_leaf else "branch"
    told = f"page {page.number}, a {kind}: {' '.join(map(str, page.keys)) or 'empty'}"
    if pages > 1:
        told = f"{pages} leaves, from page {page.number} on"
    look = {"fill": tone("sunken"), "stroke": tone("dim"), "stroke_width": 1.2, "rx": 4}
    box = el("rect", el("title", told), x=x, y=y, width=wide, height=high, **look)
    if pages == 1:
        return box
    behind = el("rect", x=x + 4, y=y + 4, width=wide - 1, height=high, **look)
    return group([behind, box])


def _folded(pages: list[Page], y: float) -> list[Markup]:
    keys = [key for page in pages for key in page.keys]
    gone = sum(len(page.gone) for page in pages)
    told = f"{keys[0]} … {keys[-1]} · " if len(keys) > 1 else f"{keys[0]} · " if keys else "empty"
    if len(pages) > 1:
        told += f"{len(pages)} pages"
    elif keys:
        told += f"{len(keys)} record{'s' * (len(keys) != 1)}"
    if gone:
        told += f", {gone} gone"
    shown = fit(told, CELL - 16, SMALL)
    return [label(LEAF + 8, y + 12.5, shown, size=SMALL, tone="dim", halo=False)]


def _cell(at: Revision, change: Change | None, y: float, lit: bytes) -> list[Markup]:
    box = {"x": LEAF + PAD, "y": y + 1, "width": CELL - 2 * PAD, "height": ROW - 2, "rx": 2}
    hole = change is None
    mine = not hole and change.kv.key == lit
    look = {
        "fill": "none" if hole else tone("index" if mine else "surface"),
        "fill_opacity": 0.28 if mine else None,
        "stroke": tone("index" if mine else "line"),
        "stroke_width": 1.4 if mine else 0.9,
        "stroke_dasharray": "3 2.4" if hole else None,
    }
    title = f"{at}: removed by a compaction" if hole else f"{at}: {_record(change, 200)}"
    hooks = {
        "data_kv_revision": at.main,
        "data_kv_sub": at.sub,
        "data_kv_hole": "" if hole else None,
    }
    parts = [el("rect", el("title", title), **box, **look)]
    style = {"halo": False, "tone": "dim" if hole else "ink"}
    told = f"{at}" if hole or change.kind != "delete" else f"{at}(t)"
    parts.append(label(LEAF + PAD + 5, y + 12.5, told, size=MONO, mono=True, **style))
    value = "gone" if hole else _record(change, 40)
    room = CELL - 2 * PAD - REV - 10
    shown = fit(value, room, SMALL)
    parts.append(label(LEAF + PAD + REV + 5, y + 12.5, shown, size=SMALL, **style))
    return [group(parts, class_="kv-cell", **hooks)]


def _record(change: Change, limit: int) -> str:
    key = _name(change.kv.key, limit)
    return f"{key} deleted" if change.kind == "delete" else f"{key}={_name(change.kv.value, limit)}"


def _branches(tree: BPlusTree, cells: Cells) -> tuple[list[Markup], float]:
    """The levels above the leaves, each a column; the right edge of the last one."""
    lines: list[Markup] = []
    parts: list[Markup] = []
    left = LEAF + CELL + STEP - BRANCH
    for level in tree.pages()[-2::-1]:
        bottom = TOP - 4
        for page in level:
            if page.number in cells.pages:
                continue  # it is folded up
            ends = [cells.pages[child.number] for child in page.children]
            middle = (ends[0][1] + ends[-1][1]) / 2
            high = ROW * len(page.keys) + 2 * PAD
            top = max(middle - high / 2, bottom + 4)
            middle, bottom = top + high / 2, top + high
            for place, (x, y) in enumerate(ends):
                lines.append(_signpost((x, y), (left, top + PAD + ROW * place)))
            parts.append(_page_box(left, top, BRANCH, high, page))
            for place, key in enumerate(page.keys):
                style = {"size": MONO, "mono": True, "halo": False, "anchor": "middle"}
                y = top + PAD + ROW * place + 12.5
                parts.append(label(left + BRANCH / 2, y, str(key), **style))
            cells.pages[page.number] = (left + BRANCH, middle)
        left += STEP
    return [*lines, *parts], left - STEP + BRANCH if len(tree.pages()) > 1 else LEAF + CELL


def _curve(a: tuple[float, float], b: tuple[float, float]) -> str:
    """A path from left to right that leaves and arrives level."""
    (ax, ay), (bx, by), middle = a, b, num((a[0] + b[0]) / 2)
    return f"M{num(ax)},{num(ay)} C{middle},{num(ay)} {middle},{num(by)} {num(bx)},{num(by)}"


def _signpost(child: tuple[float, float], branch: tuple[float, float]) -> Markup:
    """From a child to its branch: level up to the last column's edge, where it may stand lower."""
    edge = (max(child[0], branch[0] - (STEP - BRANCH)), child[1])
    way = f"M{num(child[0])},{num(child[1])} " + _curve(edge, branch).replace("M", "L", 1)
    return el("path", d=way, fill="none", stroke=tone("dim"), stroke_width=1)


# The blue tree ------------------------------------------------------------------------------


def _index(store: StoreMoment, lit: bytes) -> tuple[dict, list[Markup], float]:
    """The keys from top to bottom, the lit one unfolded; where its revisions stand."""
    keys = list(store.index)
    if len(keys) > KEYS:
        last = newest(store.changes)
        keys = sorted(keys, key=lambda one: (one != lit, -last[one].at.main))[:KEYS]
    rows: dict[Revision, tuple[float, float]] = {}
    parts, y = [], TOP
    for key in sorted({*keys, lit}):
        if key == lit:
            drawn, high = _unfolded(store, key, y, rows)
        else:
            drawn, high = _leaf_line(store, key, y), 24.0
        parts.append(group(drawn, class_="kv-index-leaf", data_kv_key=_name(key, 200)))
        y += high + 5
    if len(store.index) > KEYS:
        told = f"… {len(store.index) - len(keys)} more keys"
        parts.append(label(LEFT + 4, y + 10, told, size=SMALL, tone="dim", halo=False))
        y += 16
    return rows, parts, y


def _index_box(y: float, high: float, lit: bool, told: str) -> Markup:
    look = {"fill": tone("index"), "fill_opacity": 0.16 if lit else 0.07, "rx": 4}
    look |= {"stroke": tone("index"), "stroke_width": 1.6 if lit else 0.9}
    return el("rect", el("title", told), x=LEFT, y=y, width=INDEX, height=high, **look)


def _leaf_line(store: StoreMoment, key: bytes, y: float) -> list[Markup]:
    lives = " ".join(map(str, store.index[key]))
    name = fit(_name(key, 40), 92, SMALL)
    room = INDEX - 18 - width(name, SMALL) - 8
    shown = _tail(lives, room)
    return [
        _index_box(y, 24, False, f"{_name(key, 200)}: {lives}"),
        label(LEFT + 7, y + 16, name, size=SMALL, halo=False, bold=True),
        label(LEFT + INDEX - 7, y + 16, shown, size=MONO, mono=True, halo=False, anchor="end"),
    ]


def _tail(told: str, room: float) -> str:
    """The end of a list of revisions: the newest count most."""
    if width(told, MONO, True) <= room:
        return told
    while told and width("… " + told, MONO, True) > room:
        told = told.partition(" ")[2]
    return f"… {told}" if told else "…"


def _unfolded(store: StoreMoment, key: bytes, y: float, rows: dict) -> tuple[list[Markup], float]:
    lives = store.index.get(key, ())
    top = y + 22.0
    parts: list[Markup] = []
    hidden = max(0, sum(len(life.revisions) for life in lives) - UNFOLDED)
    if not lives:
        told = "not in the index"
        parts.append(label(LEFT + 10, top + 12, told, size=SMALL, tone="dim", halo=False))
        top += 20
    if hidden:
        told = f"… {hidden} earlier revisions"
        parts.append(label(LEFT + 10, top + 11, told, size=SMALL, tone="dim", halo=False))
        top += 18
    born = [(change.at, change.kv) for change in store.changes if change.kv.key == key]
    for life in lives:
        shown = life.revisions[max(0, min(hidden, len(life.revisions))) :]
        hidden = max(0, hidden - len(life.revisions))
        if not shown and life.revisions:
            continue
        drawn, high = _generation(life, born, shown, top, rows)
        parts += drawn
        top += high + 4
    box = _index_box(y, top - y + 2, True, f"{_name(key, 200)}: {' '.join(map(str, lives))}")
    name = label(LEFT + 7, y + 15, fit(_name(key, 60), INDEX - 20), bold=True, halo=False)
    return [box, name, *parts], top - y + 2


def _generation(
    life: Generation, born: list[tuple[Revision, KeyValue]], shown: tuple, top: float, rows: dict
) -> tuple[list[Markup], float]:
    high = ROW * max(1, len(shown)) + 4
    box = {"x": LEFT + 6, "y": top, "width": INDEX - 12, "height": high, "rx": 4}
    edge = {"stroke": tone("index"), "stroke_width": 1, "fill": tone("surface")}
    if not life.revisions:
        edge["stroke_dasharray"] = "3 3"
    parts = [el("rect", el("title", str(life)), **box, **edge, data_kv_generation=str(life))]
    small = {"size": SMALL, "tone": "dim", "halo": False}
    told = ["empty generation: waits for a put"]
    if (
        life.revisions
    ):  # a compaction may have taken the record that created the key, not its number
        last = next((kv for at, kv in born if at == life.revisions[0]), None)
        told = [f"created at {last.create_revision}" if last and last.version else "generation"]
        told += ["ended by a deletion"] if life.ended else ["lives"]
    for place, line in enumerate(told[: max(1, len(shown))]):
        parts.append(label(LEFT + 13, top + 14 + ROW * place, line, **small))
    for place, at in enumerate(shown):
        y = top + 2 + ROW * place
        ended = life.ended and at == life.revisions[-1]
        x = LEFT + INDEX - 12 - 64
        parts.append(_chip(f"{at}(t)" if ended else str(at), x, y, at))
        rows[at] = (x + 64, y + ROW / 2)
    return parts, high


def _chip(told: str, x: float, y: float, at: Revision) -> Markup:
    box = {"x": x, "y": y + 1, "width": 64, "height": ROW - 2, "rx": 7}
    look = {"fill": tone("index"), "fill_opacity": 0.28, "stroke": tone("index")}
    style = {"size": MONO, "mono": True, "halo": False, "anchor": "middle"}
    words = label(x + 32, y + 12.5, told, **style)
    return group([el("rect", **box, **look), words], data_kv_lookup=str(at))


def _lines(rows: dict[Revision, tuple[float, float]], cells: Cells) -> list[Markup]:
    """From each revision of the lit key to the cell with its record."""
    parts = []
    for at, (x, y) in rows.items():
        cell = cells.at.get(at)
        if cell is None:
            continue
        way = _curve((x, y), cell)
        look = {"fill": "none", "stroke": tone("index"), "stroke_width": 1.6}
        told = el("title", f"{at} in the index leads to {at} in the B+tree")
        parts.append(el("path", told, d=way, **look, data_kv_leads=str(at)))
    return parts


# Words --------------------------------------------------------------------------------------


def _heads(store: StoreMoment, branched: bool, wide: float) -> Markup:
    who = f" · as {store.node} has applied it" if store.node else ""
    told = f"{store.time:.3f} s · revision {store.revision}{who}"
    if store.compacted:
        told += f" · compacted at {store.compacted}"
    right = "branches, root on the right" if branched else "one leaf, which is the root"
    return group(
        [
            label(14, 18, fit(told, wide - 28, SMALL), size=SMALL, tone="dim", halo=False),
            label(LEFT, 44, "key index", bold=True, tone="index", halo=False),
            label(LEFT, 58, "key → revisions", size=SMALL, tone="dim", halo=False),
            label(LEAF, 44, "B+tree", bold=True, halo=False),
            label(LEAF, 58, "revision → record: leaves", size=SMALL, tone="dim", halo=False),
            label(wide - 14, 58, right, size=SMALL, tone="dim", halo=False, anchor="end"),
        ],
        class_="kv-head",
    )


def _notes(store: StoreMoment, tree: BPlusTree, order: int) -> list[str]:
    held = MemoryBackend().tree.order
    told = [f"Pages of at most {order} records, so that several are seen; a store's hold {held}."]
    if len(tree.pages()[-1]) > MANY_LEAVES:
        told.append("Parts that the key does not lead to are folded up.")
    outlined = {at for page in tree.pages()[-1] for at in page.gone}
    holes = [change for change in store.holes if change.at in outlined]
    if holes:
        told.append("An outline: a compaction removed it, and its page was not written again.")
    if rest := len(store.holes) - len(holes):
        more = " more" if holes else ""
        what = "record has" if rest == 1 else "records have"
        told.append(f"{rest}{more} removed {what} left no trace in the pages.")
    return [*told, *([store.caveat] if store.caveat else [])]


def _text(store: StoreMoment, tree: BPlusTree, lit: bytes) -> str:
    """The index as etcd prints it, and the pages level by level, leaves last; `!` marks holes."""
    lines = [f"Key index at revision {store.revision} (lit: {_name(lit, 60)}):"]
    told = [f"  {_name(key, 60)}: {' '.join(map(str, store.index[key]))}" for key in store.index]
    lines += tail(told, TOLD, "  … {} keys before these")
    lines.append(f"B+tree of pages of {tree.order}, from the root down:")
    for level in tree.pages()[:-1]:
        lines.append("  " + " | ".join(" ".join(map(str, page.keys)) for page in level))
    leaves = []
    for page in tree.pages()[-1]:
        told = [
            f"{at} gone" if change is None else f"{at} {_record(change, 24)}"
            for at, change in _page_rows(page)
        ]
        leaves.append("  leaf: " + (", ".join(told) or "empty"))
    lines += tail(leaves, TOLD, "  … {} leaves before these")
    if store.caveat:
        lines.append(store.caveat)
    return "\n".join(lines)


# DOT ----------------------------------------------------------------------------------------


def trees_dot(
    subject: Any,
    at: float | None = None,
    seq: int | None = None,
    *,
    key: str | bytes | None = None,
    order: int = 4,
    node: str | None = None,
) -> str:
    """The two trees as DOT source, for Graphviz; the arguments are those of `trees`."""
    store = look_store(subject, at, seq, node)
    lit, tree = _lit(store, key) if store.changes else b"", grey_tree(store, order)
    lines = [
        "digraph trees {",
        '  rankdir=LR; node [shape=record, fontname="Helvetica", fontsize=11];',
        f"  label={quoted(f'revision {store.revision}, pages of {order}')};",
    ]
    for number, name in enumerate(store.index):
        told = _escape(_name(name, 60)) + "|" + _index_ports(store.index[name])
        colour = "#1F6FC4" if name == lit else "#8FB8E6"
        lines.append(f'  key{number} [label="{told}", color="{colour}"];')
        if name == lit:
            for life in store.index[name]:
                for at_ in life.revisions:
                    leaf = _leaf_of(tree, at_)
                    port = f"r{at_.main}_{at_.sub}"
                    lines.append(f'  key{number}:{port} -> page{leaf}:{port} [color="#1F6FC4"];')
    for level in tree.pages():
        for page in level:
            lines += _dot_page(page)
    return "\n".join([*lines, "}"])


def _index_ports(lives: tuple[Generation, ...]) -> str:
    told = []
    for life in lives:
        ends = life.revisions[-1:] if life.ended else ()
        ports = (
            f"<r{at.main}_{at.sub}> {at}{'(t)' if at in ends else ''}" for at in life.revisions
        )
        told.append("{" + ("|".join(ports) or " ") + "}")
    return "|".join(told)


def _leaf_of(tree: BPlusTree, at: Revision) -> int:
    return next(page.number for page in tree.pages()[-1] if at in page.keys)


def _dot_page(page: Page) -> list[str]:
    if not page.is_leaf:
        told = "|".join(map(str, page.keys))
        edges = [f"  page{one.number} -> page{page.number} [dir=back];" for one in page.children]
        return [f'  page{page.number} [label="{told}", color="#777777"];', *edges]
    cells = (
        f"<r{at.main}_{at.sub}> {at}"
        + (" gone" if change is None else f" {_escape(_record(change, 24))}")
        for at, change in _page_rows(page)
    )
    told = "{" + ("|".join(cells) or "empty") + "}"
    return [f'  page{page.number} [label="{told}", color="#777777"];']


def _escape(text: str) -> str:
    """Text inside of a record's label."""
    told = text.replace("\\", "\\\\\\\\").replace('"', '\\"')
    for sign in "{}|<> ":
        told = told.replace(sign, "\\" + sign)
    return told
