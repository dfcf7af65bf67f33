"""`%%transcript`: play a cell that is written as a transcript.

    %load_ext kvlearn.course

    %%transcript
    cluster 3
    campaign n1
    stabilize

`%%transcript VotesTwice` plays it with a broken rule: a class of `kvlearn.course.mutants`, or one
of the notebook's own. What the cell tells below `----` is compared with what happens, so a cell
can be a prediction; where nothing is told, the story is simply shown.
"""

from __future__ import annotations

from kvlearn.course.mutants import MUTANTS
from kvlearn.course.page import Card, Code, Fold, Words
from kvlearn.course.rules import Changes
from kvlearn.raft.raft import Raft
from kvlearn.sim.script import Playback, ScriptError, parse, play


def register(shell) -> None:
    """Give an IPython shell the magic, and its tables room for sentences."""

    def transcript(line: str, cell: str):
        return run(line, cell, shell.user_ns)

    shell.register_magic_function(transcript, "cell", "transcript")
    try:
        import pandas
    except ImportError:
        return  # a kernel in a browser may have none
    pandas.options.display.max_colwidth = 120  # a record's sentence, whole


def run(line: str, cell: str, names: dict) -> Card:
    """Play `cell` with the class that `line` names; the card that shows what happened."""
    own = {
        name: kind
        for name, kind in names.items()
        if isinstance(kind, type) and issubclass(kind, Raft)
    }
    name = line.strip() or "Raft"
    classes = {"Raft": Raft, **MUTANTS, **own}
    if name not in classes:
        known = ", ".join(sorted(classes))
        return Card("fault", f"There is no class {name!r}", [Words(f"Known are {known}.")])
    try:
        playback = play(cell, classes[name], own)
    except ScriptError as error:
        return Card("fault", f"The transcript stops: {error}")
    return _shown(playback, cell, name)


def _shown(playback: Playback, cell: str, name: str) -> Card:
    title = f"with {name}" if name != "Raft" else "Played"
    if not any(getattr(part, "told", None) for part in parse(cell)):
        return Card("plain", title, [Code(playback.text, plain=True)])
    if playback.ok:
        return Card("good", "It happened just as you told it", [Code(playback.text, plain=True)])
    changes = Changes(cell.strip(), playback.text, "as you told it", "as it happened")
    played = Fold("the whole transcript", Code(playback.text, plain=True).html())
    return Card("fault", "It happened otherwise", [changes, played])
