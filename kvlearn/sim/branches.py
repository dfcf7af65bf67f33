"""Branches in a file: runs by name, as readable JSON, one verb a line.

>>> from tempfile import TemporaryDirectory
>>> from kvlearn.sim import Cluster
>>> cluster = Cluster(3, seed=7)
>>> cluster.run(2)
>>> calm = cluster.journal()
>>> cluster.crash("n3")
>>> with TemporaryDirectory() as folder:
...     save_branches(folder + "/runs.json", {"calm": calm, "crash": cluster.journal()})
...     [f"{name}: {journal}" for name, journal in load_branches(folder + "/runs.json").items()]
['calm: 3 nodes, seed 7, 0 verbs, until 2.000 s', 'crash: 3 nodes, seed 7, 1 verb, until 2.000 s']

Each branch carries a check of its own text, and a digest of the trace that it leads to. So a file
that was damaged is refused when it is read, and a run that comes out another when it is lived.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from kvlearn.sim.journal import Journal, confirmed, from_plain, plain, relive

FORMAT = 1  # of the file


def save_branches(path: str | Path, branches: Mapping[str, Journal]) -> None:
    """Write runs, by name, to a JSON file (UTF-8). Each is lived once more, unless its digest is
    known, so that no file is written that cannot be read.

    Raises: ValueError for a run that cannot be told (a Raft of one's own) or lived again.
    """
    from kvlearn.sim.cluster import Cluster  # which knows this module

    if not branches:
        raise ValueError("there are no branches to save: give {name: cluster.journal()}")
    told = []
    for name, journal in branches.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"a branch is called by a text, not {name!r}")
        if not journal.digest:
            journal = confirmed(relive(Cluster, journal))
        told.append(f"{json.dumps(name, ensure_ascii=False)}: {_text(plain(journal))}")
    head = f'{{"kvlearn": "branches", "format": {FORMAT}, "branches": {{\n'
    Path(path).write_text(head + ",\n".join(told) + "\n}}\n", encoding="utf-8")


def load_branches(path: str | Path) -> dict[str, Journal]:
    """The runs that `save_branches` wrote, by name, in their order.

    Raises: ValueError that says what is wrong with the file.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged or cut off, no JSON: {error}; {SAVE}") from None
    if not isinstance(data, dict) or data.get("kvlearn") != "branches":
        raise ValueError(f"{path} is no file of branches; {SAVE}")
    if data.get("format") != FORMAT:
        raise ValueError(
            f"{path} is of format {data.get('format')!r}, and this version of kvlearn reads "
            f"{FORMAT}: open it with the version that wrote it"
        )
    branches = data.get("branches")
    if not isinstance(branches, dict) or not branches:
        raise ValueError(f"{path} holds no branches; {SAVE}")
    return {name: _read(f"{path}, branch {name!r}", one) for name, one in branches.items()}


SAVE = "save it anew with cluster.save(path)"


def _text(data: dict[str, Any]) -> str:
    """One verb a line, and the check last."""
    lines = [f'"made": {_json(data["made"])},', '"done": [']
    verbs = [_json(verb) for verb in data["done"]]
    lines += [f"{verb}," for verb in verbs[:-1]] + verbs[-1:]
    lines += ["],", f'"end": {_json(data["end"])},', f'"trace": {_json(data["trace"])},']
    return "{\n" + "\n".join([*lines, f'"check": "{_check(data)}"']) + "\n}"


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)


def _check(data: dict[str, Any]) -> str:
    told = json.dumps(data, sort_keys=True)
    return sha256(told.encode()).hexdigest()[:16]


def _read(where: str, data: Any) -> Journal:
    if not isinstance(data, dict) or _check({k: v for k, v in data.items() if k != "check"}) != (
        data.get("check")
    ):
        raise ValueError(f"{where} was damaged, or changed by hand; {SAVE}")
    try:
        return from_plain(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where} tells of what this version does not know: {error!r}") from None


def save(cluster: Any, path: str | Path, name: str) -> None:
    """Write one run to a file."""
    save_branches(path, {name: confirmed(cluster)})


def load(cls: type, path: str | Path, name: str | None) -> Any:
    """A cluster that has lived the run of that name; of the only, or first one if it is None."""
    branches = load_branches(path)
    if name is None:
        name = next(iter(branches))
    if name not in branches:
        raise ValueError(f"{path} has no branch {name!r}; it has {', '.join(branches)}")
    return relive(cls, branches[name])
