"""`%%transcript`: plays, compares with what was told, and takes the notebook's own classes."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell

from kvlearn import Raft
from kvlearn.course import magics

MOVES = "cluster 3\ncampaign n1 n2\nstabilize\n"


def test_without_a_told_part_it_shows_what_happens():
    card = magics.run("", MOVES, {})
    assert card.mood == "plain" and "n1 becomes leader in term 1" in str(card)


def test_a_true_story_is_confirmed_and_a_false_one_corrected():
    told = "cluster 1\ncampaign n1\n----\n"
    card = magics.run("", told + "n1 loses heart\n", {})
    assert card.mood == "fault" and "n1 loses heart" in str(card)
    lines = [line[2:] for line in str(card).splitlines() if line.strip().startswith("+ n1")]
    lines = [line.strip().removeprefix("+ ") for line in lines]
    assert lines
    assert magics.run("", told + "\n".join(lines) + "\n", {}).mood == "good"


def test_mutants_and_the_notebook_s_own_classes_can_be_named():
    class Mine(Raft):
        def may_vote_for(self, candidate):
            return False

    assert "with VotesTwice" in str(magics.run("VotesTwice", MOVES, {}))
    card = str(magics.run("Mine", MOVES, {"Mine": Mine, "x": 3}))
    assert "with Mine" in card and "becomes leader" not in card
    assert "cluster 3 raft=Mine" in str(
        magics.run("", MOVES.replace("3", "3 raft=Mine"), {"Mine": Mine})
    )


def test_mistakes_are_told_not_raised():
    assert "no class 'Nobody'" in str(magics.run("Nobody", MOVES, {}))
    card = magics.run("", "cluster 3\nnonsense\n", {})
    assert card.mood == "fault" and "line 2" in str(card)


def test_a_shell_gets_the_magic():
    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "kvlearn.course")
    assert "becomes leader" in str(shell.run_cell_magic("transcript", "", MOVES))
