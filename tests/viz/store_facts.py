"""The store's facts twice: as `look_store` folds them, and as the flat state of a browser tells.

Both come as plain data, so that they can be compared, whoever has read the state: the mirror of
`Store` in pictures.js that stands here, or that very file, in `store_facts.js`.
"""

from __future__ import annotations

from kvlearn.mvcc.revision import short
from kvlearn.viz.store_fold import look_store
from kvlearn.viz.store_rows import HELD, KEY_CHARS, ORDER, VALUE_CHARS, fork_facts
from kvlearn.viz.timeline_rows import micros
from kvlearn.viz.trees import grey_tree

# As the trace tells ----------------------------------------------------------------------------


def trace_facts(subject, seq: int, times: list[float] = ()) -> dict:
    """The facts after record `seq`; of leases what is left at each of `times`, in seconds."""
    store = look_store(subject, seq=seq)
    tree, names = grey_tree(store, ORDER), _names(store)
    return {
        "revision": store.revision,
        "compacted": store.compacted,
        "changes": [_change(change, names) for change in store.changes],
        "holes": [_at(change.at) for change in store.holes],
        "index": {names[k]: " ".join(map(str, v)) for k, v in store.index.items()},
        "pages": _pages(tree.root) if store.changes else None,
        "watchers": [_watcher(store, life, names) for life in store.watches],
        "leases": _leases(subject, store, names, times),
        "fork": fork_facts(store.forks[-1]) if store.forks else None,
    }


def _at(revision) -> list:
    return [revision.main, revision.sub]


def _names(store) -> dict[bytes, str]:
    """What keys are called: shortened, and those that look alike then are numbered."""
    names: dict[bytes, str] = {}
    for change in store.changes:
        told = short(change.kv.key, KEY_CHARS)
        alike = sum(short(other, KEY_CHARS) == told for other in names if other != change.kv.key)
        names.setdefault(change.kv.key, f"{told}~{alike + 1}" if alike else told)
    return names


def _change(change, names: dict[bytes, str]) -> list:
    kv = change.kv
    words = [change.kind, names[kv.key], short(kv.value, VALUE_CHARS)]
    return [*_at(change.at), *words, kv.version, kv.lease, change.term, change.index, change.seq]


def _pages(page) -> list:
    if page.children is not None:
        return [page.number, [str(key) for key in page.keys], [*map(_pages, page.children)]]
    return [page.number, [*map(_at, page.keys)], [*map(_at, page.gone)]]


def _watcher(store, life, names: dict[bytes, str]) -> dict:
    def at(places):
        return [_at(store.changes[place].at) for place in places]

    odd = [told.wrong for told in life.told if told.wrong]
    return {
        "facts": [life.name, life.what[:KEY_CHARS], life.first, life.position],
        "node": life.served[-1].node,
        "state": [life.state, life.end, life.lost],
        "told": sorted([names[told.event.kv.key], told.revision] for told in life.told),
        "behind": at(life.behind),
        "pale": at(life.pale),
        "missed": at(life.missed),
        "odd": bool(odd) or any(told.times > 1 for told in life.told),
    }


def _leases(subject, store, names: dict, times: list[float]) -> dict:
    lefts: dict[int, list] = {}
    for time in times:
        later = look_store(subject, at=time)
        assert later.seq == store.seq, "between two records"
        for life in {life.id: life for life in later.leases}.values():
            lefts.setdefault(life.id, []).append(None if life.left is None else life.left * 1e6)
    told = {}
    for life in store.leases:  # of an id that was granted again: its last life
        keys = life.keys if life.end else store.held.get(life.id, ())
        node = None if life.end else life.stretches[-1].node
        told[str(life.id)] = {
            "facts": [life.ttl_s, micros(life.granted), life.end, life.revision, node],
            "times": [None if t is None else micros(t) for t in (life.ended, life.ran_out)],
            "keys": [[names[key] for key in keys[:HELD]], len(keys)],
            "left": lefts.get(life.id, []),
        }
    return told


# As the state tells ----------------------------------------------------------------------------


def state_facts(state: dict, tables: dict, times: list[float] = ()) -> dict:
    """The same of a flat state: lists are lists of numbers, tables by number."""
    changes = [tables["changes"][number] for number in state.get("s.changes") or []]
    holes = [tables["changes"][number] for number in state.get("s.holes") or []]
    gone = [change[:2] for change in holes]
    fork = state.get("s.fork")
    watchers = [key for key in state if key[:2] == "w." and key.count(".") == 1 and state[key]]
    watchers.sort(key=lambda key: int(key[2:]))
    return {
        "revision": state.get("s.revision") or 1,
        "compacted": state.get("s.compacted") or 0,
        "changes": changes,
        "holes": sorted(gone),
        "index": _index([change for change in changes if change[:2] not in gone]),
        "pages": _page_of(state, tables, state["s.root"]) if changes else None,
        "watchers": [_watcher_of(state, tables, key, gone) for key in watchers],
        "leases": {
            key[2:]: _lease_of(state[key], times)
            for key in state
            if key.startswith("l.") and state[key]
        },
        "fork": None if fork is None else tables["forks"][fork],
    }


def _index(changes: list) -> dict:
    lives: dict[str, list[str]] = {}
    for main, sub, kind, key, *_ in changes:
        life = lives.setdefault(key, [""])
        life[-1] = f"{life[-1]} {main}.{sub}".strip()
        if kind == "delete":
            life[-1] += "(t)"
            life.append("")
    return {key: " ".join(f"{{{life}}}" for life in told) for key, told in lives.items()}


def _page_of(state: dict, tables: dict, number: int) -> list:
    children, keys, *holes = state[f"page.{number}"]
    if children is not None:
        return [number, keys, [_page_of(state, tables, child) for child in children]]
    return [number, *([tables["changes"][n][:2] for n in part] for part in (keys, *holes))]


def _watcher_of(state: dict, tables: dict, key: str, holes: list) -> dict:
    name, what, first, position, node, end, lost, _, filters, odd = state[key]
    told = set(state.get(f"{key}.told") or [])
    upto = state.get(f"{node}.revision") or 0
    sees = [(n, tables["changes"][n]) for n in state.get(f"{key}.sees") or []]
    seen = [change for n, change in sees if change[0] <= upto and n not in told]
    filtered = [c for c in seen if ("delete" if c[2] == "delete" else "put") in filters]
    open_ = [change for change in seen if change not in filtered]
    behind = [] if end else [c[:2] for c in open_ if c[0] > position]
    swept = state.get("s.swept") or []
    away = [c for c in open_ if c[2] == "delete" and c[0] in swept and c[:2] in holes]
    state_of = "ended" if end else "waiting" if lost else "behind" if behind else "synced"
    return {
        "facts": [name, what, first, position],
        "node": node,
        "state": [state_of, end, lost],
        "told": sorted([tables["changes"][n][3], tables["changes"][n][0]] for n in told),
        "behind": behind,
        "pale": [c[:2] for c in filtered if not end or c[0] <= position],
        "missed": [c[:2] for c in open_ if c[0] <= position and c not in away],
        "odd": bool(odd),
    }


def _lease_of(lease: list, times: list[float]) -> dict:
    ttl_s, granted, start, left, rate, node, _, end, ended, revision, ran_out, keys, count = lease
    counts = not end and node is not None
    return {
        "facts": [ttl_s, granted, end, revision, None if end else node],
        "times": [ended, ran_out],
        "keys": [keys, count],
        "left": [max(0, left - (micros(t) - start) * rate) if counts else None for t in times],
    }
