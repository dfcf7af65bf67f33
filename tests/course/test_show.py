"""`show`, `blank`, `compare`, `strips`: what lessons show is read from what runs."""

from __future__ import annotations

import inspect
import re
from html.parser import HTMLParser

import pytest

import kvlearn
from kvlearn import Cluster, Raft
from kvlearn.course import blank, compare, show, strips, summary
from kvlearn.course.colours import coloured
from kvlearn.course.exercises.election import LongestLogWins
from kvlearn.course.mutants import MUTANTS, CommitsOldTerms, VotesTwice
from kvlearn.course.page import Card, Code, Table, Words
from kvlearn.course.rules import GUARDS, asked_by, section_of, sentence_of
from kvlearn.errors import Blank
from kvlearn.raft.rules import Rules


class Strict(HTMLParser):
    """Raises where tags do not match."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        assert all("'" not in name and '"' not in name for name, _ in attrs), (tag, attrs)
        if tag not in ("br", "circle", "path", "line", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_data(self, data):
        self.text += data


def text_of(html: str) -> str:
    """What a reader sees, once the markup has been found sound."""
    reader = Strict()
    reader.feed(html)
    assert reader.open == []
    return reader.text


# Rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", GUARDS)
def test_every_rule_says_all_that_a_lesson_needs(rule):
    method = getattr(Raft, rule)
    card = show(method)
    assert section_of(method).startswith(("paper", "thesis")), section_of(method)
    assert sentence_of(method).endswith(".") and "(" not in sentence_of(method)
    assert asked_by(Raft, rule), f"nobody asks {rule}"
    for part in (sentence_of(method), GUARDS[rule], section_of(method), "kvlearn/raft/rules.py"):
        assert part in " ".join(str(card).split())
    told = text_of(card._repr_html_())
    assert f"def {rule}(" in told and '"""' not in told
    last = inspect.getsource(method).splitlines()[-1].strip()
    assert last in told and last in str(card)


@pytest.mark.parametrize(
    "rule, section",
    [
        (Raft.may_commit, "paper 5.4.2, figure 8"),
        (Raft.wants_snapshot, "paper 7, figure 13"),
        (Raft.may_reconfigure, "thesis 4.1, 4.3"),
        (Raft.quorum_active, "thesis 6.2"),
        (Raft.own_match, "thesis 10.2.1"),
    ],
)
def test_sections_4_and_6_have_parts_in_the_thesis_only(rule, section):
    assert section_of(rule) == section


def test_no_rule_is_missing():
    source = inspect.getsource(Rules)
    rules = source[source.index("    # Rules ---") :]
    assert set(re.findall(r"^    def (\w+)", rules, re.MULTILINE)) == set(GUARDS)


def test_every_mutant_breaks_a_rule_that_lessons_can_show():
    assert {mutant.rule for mutant in MUTANTS.values()} <= set(GUARDS)


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_is_shown_beside_what_it_breaks(mutant):
    card = show(mutant)
    told = text_of(card._repr_html_())
    assert mutant.rule in told and f"- only Raft, + only {mutant.__name__}" in str(card)
    assert any(line.strip().startswith("+ ") for line in str(card).splitlines())


def test_a_broken_rule_can_be_shown_without_the_right_one():
    card = show(LongestLogWins, reference=False)
    for told in (str(card), text_of(card._repr_html_())):
        assert "return last.index >= self.log.last_index" in told
        assert "self.log.last\n" not in f"{told}\n" and "only Raft" not in told


def test_a_student_s_class_is_compared_with_what_can_be_read():
    class Mine(blank(Raft, "may_vote_for")):
        def may_vote_for(self, candidate):
            return self.vote is None

    card = str(show(Mine))
    assert "- only Raft, + only Mine" in card
    assert "-     return self.vote == candidate or (self.vote is None and" in card
    assert "+     return self.vote is None" in card


def test_other_things_show_their_source_or_themselves():
    assert "def test_other_things" in str(show(test_other_things_show_their_source_or_themselves))
    assert "class Cluster" in text_of(show(Cluster)._repr_html_())
    assert kvlearn.show is show
    with pytest.raises(TypeError, match="a rule, a class"):
        show(3)


def test_what_shows_itself_is_asked():
    class Thing:
        def show(self):
            return "shown"

    assert show(Thing()) == "shown"


# Blanks -------------------------------------------------------------------------------------


def test_a_blank_asks_for_its_rule_in_the_rule_s_own_words():
    Your = blank(Raft, "may_commit", "may_vote_for")
    with pytest.raises(Blank, match="figure 8"):
        Your.may_commit(None, 4)
    assert Your.may_vote_for.__doc__ == Raft.may_vote_for.__doc__
    assert inspect.signature(Your.may_vote_for) == inspect.signature(Raft.may_vote_for)
    assert "self.vote" not in inspect.getsource(Your.may_vote_for)
    assert issubclass(Your, Raft) and Your.is_up_to_date is Raft.is_up_to_date


def test_a_cluster_of_blanks_stops_where_the_rule_is_asked():
    with pytest.raises(Blank, match="may_vote_for is not written yet"):
        Cluster(3, seed=1, raft=blank(Raft, "may_vote_for")).run(3)


def test_only_rules_can_be_blanked():
    with pytest.raises(ValueError, match="the rules are may_vote_for"):
        blank(Raft, "tick")


# Comparisons --------------------------------------------------------------------------------

STORY = """
cluster 3
campaign n1 n2
ready n1 n2
deliver n1→n3
ready n3
deliver n2→n3
ready n3
deliver n3→n1
deliver n3→n2
"""


def test_the_first_difference_is_the_rule_at_work():
    comparison = compare(STORY, VotesTwice)
    one, other = comparison.first
    assert "refuses n2's vote request" in one and "votes for n2" in other
    told = text_of(comparison._repr_html_())
    assert "every promise is kept" in told and "Election Safety is broken" in told
    assert "lines alike" in told


def test_a_scene_may_be_a_function_and_the_same_class_differs_in_nothing():
    def scene(cluster):
        cluster.campaign("n1")
        cluster.campaign("n2")
        cluster.run(1)

    assert compare(scene, Raft).first is None
    twice = compare(scene, VotesTwice).first[1]
    assert re.fullmatch(r"n\d votes for n[12] in term 1", twice)
    assert compare(scene, CommitsOldTerms).first is None


# Charts -------------------------------------------------------------------------------------


def test_a_chart_has_a_dot_a_run_and_a_median_a_setting():
    measured = {"a": [0.1, 0.2, 0.4], "b": [1.0, 3.0], "same": [0.5] * 40}
    svg = strips(measured, "time", "seconds").svg()
    assert svg.count("<circle") == 45
    assert ">0.200<" in svg and ">2.000<" in svg
    text_of(svg)
    frame = summary(measured, slow=0.3)
    assert list(frame.loc["a"]) == [3, 0.2, 0.4, 1] and list(frame["above 0.3"]) == [1, 2, 40]


def test_no_dot_leaves_the_chart():
    measured = {f"{n} nodes": [0.001 * 1.3**k for k in range(40)] for n in range(3)}
    picture = strips(measured, "time")
    for x in re.findall(r'<circle cx="([\d.]+)"', picture.svg()):
        assert 0 < float(x) < picture.width


@pytest.mark.parametrize("values", [[], [0.0], [1.0, -1.0]])
def test_a_logarithm_needs_values_above_0(values):
    with pytest.raises(ValueError, match="above 0"):
        strips({"a": values}, "time")


# Cards --------------------------------------------------------------------------------------


def test_strange_text_cannot_break_a_page():
    evil = "<script>alert('1')</script> & \"x\" `<b>`"
    parts = [Words(evil), Table((evil,), [(evil,)], 0), Code(evil), Code(evil, plain=True)]
    html = Card("fault", evil, parts)._repr_html_()
    assert "<script>" not in html and "<b>" not in html
    assert text_of(html).count("alert") == 6


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def f(:\n  '''",
        "x = 'ä'  # ü\n",
        "if a:\n\tb = (1,\n\n  2)\n",
        "a = '''\n  b\n'''\nc",
    ],
)
def test_colours_change_no_character(source):
    assert text_of(coloured(source)) == source.rstrip("\n") or text_of(coloured(source)) == source
