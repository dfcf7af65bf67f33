"""Hand-made histories: those that break a promise, and those that look as if they did.

A `Story` writes records as a simulated cluster would. Every promise has histories that must be
rejected, for that promise and at that record, and near misses that must be accepted.
"""

import copy

import pytest

from kvlearn import check
from kvlearn.check.invariants import (
    APPEND_ONLY,
    COMPLETENESS,
    DURABILITY,
    ELECTION_SAFETY,
    LOG_MATCHING,
    MACHINE_SAFETY,
    SECTIONS,
)
from kvlearn.errors import Violation
from kvlearn.events import (
    Appended,
    Applied,
    BecameCandidate,
    BecameFollower,
    BecameLeader,
    Committed,
    Crashed,
    Invoked,
    Returned,
    Started,
    Truncated,
    Wiped,
)
from kvlearn.kv.requests import Command, DeleteRange, Put, PutResult, Range, RangeResult
from kvlearn.raft.types import ZERO, Entry, EntryID
from kvlearn.trace import Trace

FIVE = ("n1", "n2", "n3", "n4", "n5")


def put(op_id, value="1", origin="n1"):
    return Command(origin, op_id, Put(b"a", value.encode()))


class Story:
    """A trace under construction; each verb adds one record, a tenth of a second after the last."""

    def __init__(self, *nodes, seed=7):
        self.trace = Trace(seed=seed)
        self.logs = {}
        for node in nodes:
            self.start(node)

    def tell(self, node, event):
        return self.trace.add(len(self.trace) / 10, node, event, None)

    def start(self, node, entries=(), term=0, applied=0):
        self.logs[node] = list(entries)
        self.tell(node, Started(term, None, tuple(entries), 0, applied, FIVE, 1))

    def lead(self, node, term, *others):
        """`node` becomes leader, the others its followers."""
        self.tell(node, BecameCandidate(term, ZERO, 10, 10))
        for other in others:
            self.follow(other, term, node)
        self.tell(node, BecameLeader(term, (node, *others), ZERO))

    def follow(self, node, term, leader=None):
        known = (("source", leader), ("term", term))
        self.tell(node, BecameFollower(term, leader, 10, "LEADER_HEARD", known))

    def append(self, nodes, index, term, data=None):
        for node in nodes.split():
            self.logs[node][index - 1 :] = [Entry(index, term, data)]
            self.tell(node, Appended((Entry(index, term, data),)))

    def cut(self, node, after):
        dropped = tuple(entry.id for entry in self.logs[node][after:])
        del self.logs[node][after:]
        self.tell(node, Truncated(after, dropped, EntryID(9, after + 1)))

    def crash(self, node, last=None):
        last = len(self.logs[node]) if last is None else last
        del self.logs[node][last:]
        self.tell(node, Crashed(last))

    def restart(self, node, term, last=None, applied=0):
        self.crash(node, last)
        self.start(node, self.logs[node], term, applied)

    def wipe(self, node):
        self.crash(node)
        self.tell(node, Wiped())
        self.start(node)

    def commit(self, nodes, index, old=None):
        for node in nodes.split():
            term = self.logs[node][index - 1].term
            self.tell(node, Committed(index, term, index - 1 if old is None else old))

    def apply(self, nodes, index, term, command=None, revision=1, error=""):
        for node in nodes.split():
            self.tell(node, Applied(index, term, command, revision, error))

    def write(self, nodes, index, term, command, revision):
        """An entry that all of `nodes` append, commit and apply."""
        self.append(nodes, index, term, command)
        self.commit(nodes, index)
        self.apply(nodes, index, term, command, revision)

    def ask(self, command):
        self.tell("c1", Invoked(command.op_id, command.origin, command.request))

    def answer(self, command, **more):
        self.tell("c1", Returned(command.op_id, command.origin, PutResult(), **more))

    def verdicts(self):
        return check.invariants(self.trace)

    def breaks(self, promise, *words):
        """This promise is broken first, by the story's last record; the sentence has the words."""
        verdicts = self.verdicts()
        assert [verdict.promise for verdict in verdicts.broken][:1] == [promise], verdicts
        verdict = verdicts[promise]
        assert verdict.record == self.trace[-1]
        for word in words:
            assert word in verdict.why, verdict.why

    def keeps_all(self):
        assert self.verdicts().ok, self.verdicts()


def figure_8(last_leader_has_it):
    """Paper figure 8, (a) to (d) or (e); numbers shifted by nobody: index 1 is common."""
    story = Story(*FIVE)
    story.lead("n1", 1, "n2", "n3")
    story.append("n1 n2 n3 n4 n5", 1, 1)
    story.lead("n1", 2, "n2", "n3")
    story.append("n1 n2", 2, 2, put(1))
    story.restart("n1", 2)
    story.lead("n5", 3, "n3", "n4")
    story.append("n5", 2, 3, put(2, "other", "n5"))
    story.restart("n5", 3)
    story.lead("n1", 4, "n2", "n3")
    story.append("n3", 2, 2, put(1))
    if last_leader_has_it:
        story.append("n1 n2 n3", 3, 4)
        story.commit("n1", 3, old=0)
    else:
        story.commit("n1", 2, old=0)  # counted on three nodes, and of an old term
    return story


# Election Safety ----------------------------------------------------------------------------


def test_two_leaders_of_one_term_are_rejected():
    story = Story(*FIVE)
    story.lead("n1", 2, "n2")
    story.lead("n3", 2, "n2")
    story.breaks(ELECTION_SAFETY, "n1 (record 7) and n3 both became leader in term 2")


def test_two_leaders_of_two_terms_at_one_time_are_accepted():
    story = Story(*FIVE)
    story.lead("n1", 2, "n2")
    story.lead("n3", 3, "n4")  # n1 does not know yet, and leads term 2
    story.lead("n5", 1, "n4")  # an old election that was decided late
    story.keeps_all()
    assert story.verdicts()[ELECTION_SAFETY].why == "3 terms had a leader, and none had two"


# Leader Append-Only -------------------------------------------------------------------------


def test_a_leader_that_drops_entries_is_rejected():
    story = Story("n1")
    story.lead("n1", 1)
    story.append("n1", 1, 1, put(1))
    story.append("n1", 2, 1, put(2))
    story.cut("n1", 0)
    story.breaks(APPEND_ONLY, "n1, leader of term 1, drops 1@1 2@1 from its own log")


def test_a_leader_that_overwrites_an_entry_is_rejected():
    story = Story("n1")
    story.lead("n1", 1)
    story.append("n1", 1, 1, put(1))
    story.lead("n1", 2)
    story.append("n1", 1, 2, put(2))
    story.breaks(APPEND_ONLY, "n1, leader of term 2, writes 1@2 (put a=1) over 1@1 (put a=1)")


@pytest.mark.parametrize("down", ["follow", "candidate", "restart"])
def test_one_that_leads_no_more_may_drop_entries(down):
    story = Story("n1", "n2")
    story.lead("n1", 1)
    story.append("n1", 1, 1, put(1))
    match down:
        case "follow":
            story.follow("n1", 2, "n2")
        case "candidate":
            story.tell("n1", BecameCandidate(2, EntryID(1, 1), 10, 10))
        case "restart":
            story.restart("n1", 1)
    story.cut("n1", 0)
    story.append("n1", 1, 2, put(2))
    story.keeps_all()


def test_a_leader_that_loses_its_unsaved_tail_in_a_crash_is_accepted():
    story = Story("n1")
    story.lead("n1", 1)
    story.append("n1", 1, 1, put(1))
    story.restart("n1", 1, last=0)
    story.lead("n1", 2)
    story.append("n1", 1, 2, put(2))
    story.keeps_all()


# Log Matching -------------------------------------------------------------------------------


def test_two_commands_in_one_entry_are_rejected():
    story = Story("n1", "n2")
    story.append("n1", 1, 1, put(1, "x"))
    story.append("n2", 1, 1, put(1, "y"))
    story.breaks(LOG_MATCHING, "n2 has put a=y at 1@1, and n1 has put a=x")


def test_one_entry_with_two_predecessors_is_rejected():
    story = Story("n1", "n2")
    entry = Entry(2, 3, put(1))
    story.append("n1", 1, 1)
    story.append("n2", 1, 2)
    story.tell("n1", Appended((entry,)))
    story.tell("n2", Appended((entry,)))
    story.breaks(LOG_MATCHING, "2@3 follows 1@2 on n2, and 1@1 on n1")


def test_an_entry_without_predecessor_is_rejected():
    story = Story("n1", "n2")
    story.append("n1", 1, 1)
    story.tell("n1", Appended((Entry(3, 1, put(1)),)))
    story.breaks(LOG_MATCHING, "n1 appends 3@1 (put a=1), and its log ends at index 1")


def test_a_disk_that_gives_back_something_else_is_rejected():
    story = Story("n1", "n2")
    story.append("n1 n2", 1, 1, put(1, "x"))
    story.crash("n2")
    story.start("n2", [Entry(1, 1, put(1, "y"))])
    story.breaks(LOG_MATCHING, "n2 has put a=y at 1@1, and n1 has put a=x")


def test_logs_that_differ_in_terms_are_accepted():
    """Paper figure 7: six followers, none like the leader, and all of them legal."""
    logs = {
        "leader": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
        "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
        "b": [1, 1, 1, 4],
        "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        "e": [1, 1, 1, 4, 4, 4, 4],
        "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    }
    story = Story()
    for node, terms in logs.items():
        entries = [Entry(k, term, f"{k}@{term}") for k, term in enumerate(terms, start=1)]
        story.start(node, entries)
    story.keeps_all()
    assert story.verdicts()[LOG_MATCHING].why.startswith("23 entries in 7 logs")


def test_a_tail_that_is_replaced_is_accepted():
    story = Story("n1", "n2")
    story.append("n1 n2", 1, 1)
    story.append("n2", 2, 1, put(1))
    story.cut("n2", 1)
    story.append("n1 n2", 2, 2, put(2))
    story.keeps_all()


def test_a_tail_that_is_replaced_without_a_word_is_accepted_too():
    """Only a leader must not overwrite; the new entry counts, and what followed is gone."""
    story = Story("n1")
    for index in 1, 2, 3:
        story.append("n1", index, 1, put(index))
    story.append("n1", 2, 2, put(4))
    story.commit("n1", 2, old=0)
    story.append("n1", 3, 2, put(5))
    story.keeps_all()


def test_the_same_index_lost_and_written_again_in_a_new_term_is_accepted():
    story = Story("n1", "n2")
    story.append("n1", 1, 1, put(1))
    story.wipe("n1")
    story.append("n1 n2", 1, 2, put(2))
    story.keeps_all()


# Leader Completeness ------------------------------------------------------------------------


def test_figure_8_d_is_rejected():
    story = figure_8(last_leader_has_it=False)
    story.lead("n5", 5, "n2", "n3", "n4")
    story.breaks(
        COMPLETENESS,
        "n5 became leader of term 5 without 2@2 (put a=1), which n1 committed in term 4",
        "it had 2@3 (put a=other)",
    )


def test_figure_8_e_is_accepted():
    story = figure_8(last_leader_has_it=True)
    story.lead("n2", 5, "n3", "n4")
    story.keeps_all()


def test_a_leader_with_a_short_log_is_rejected():
    story = Story(*FIVE)
    story.lead("n1", 1, "n2", "n3")
    story.append("n1 n2 n3", 1, 1, put(1))
    story.commit("n1", 1)
    story.lead("n4", 2, "n5")
    story.breaks(COMPLETENESS, "its log ended before index 1")


def test_a_leader_with_a_short_log_is_accepted_if_nothing_was_committed():
    story = Story(*FIVE)
    story.lead("n1", 1, "n2", "n3")
    story.append("n1 n2 n3", 1, 1, put(1))
    story.lead("n4", 2, "n5")
    story.keeps_all()


def test_an_entry_of_another_command_is_not_the_committed_one():
    """The ids agree, the commands do not: comparing ids alone would miss it."""
    story = Story("n1", "n2")
    story.lead("n1", 1)
    story.append("n1", 1, 1, put(1, "x"))
    story.commit("n1", 1)
    story.append("n2", 1, 1, put(1, "y"))
    story.lead("n2", 2)
    verdict = story.verdicts()[COMPLETENESS]
    assert not verdict.ok and verdict.record.seq == len(story.trace) - 1


def test_a_leader_of_an_older_term_that_wins_late_is_accepted():
    """Leader Completeness speaks of higher terms only."""
    story = Story(*FIVE)
    story.lead("n1", 3, "n2", "n3")
    story.append("n1 n2 n3", 1, 3, put(1))
    story.commit("n1", 1)
    story.lead("n4", 2, "n5")  # the votes of term 2 were on their way for long
    story.keeps_all()


def test_two_leaders_of_one_term_break_another_promise():
    story = Story("n1", "n2")
    story.lead("n1", 2)
    story.append("n1", 1, 2, put(1))
    story.commit("n1", 1)
    story.lead("n2", 2)
    story.breaks(ELECTION_SAFETY)
    assert story.verdicts()[COMPLETENESS].ok


def test_a_leader_that_has_dropped_a_committed_entry_is_rejected():
    story = Story("n1", "n2")
    story.lead("n1", 1, "n2")
    story.append("n1 n2", 1, 1, put(1))
    story.commit("n1", 1)
    story.cut("n2", 0)
    story.lead("n2", 2)
    story.breaks(COMPLETENESS, "n2 became leader of term 2", "its log ended before index 1")


def test_a_commit_of_an_old_leader_is_held_against_the_leader_elected_meanwhile():
    story = Story(*FIVE)
    story.lead("n1", 1, "n2", "n3")
    story.append("n1 n2 n3", 1, 1, put(1))
    story.lead("n4", 2, "n5")
    story.append("n4", 1, 2)
    story.commit("n1", 1)  # in term 1, and the leader of term 2 lacks it
    story.breaks(COMPLETENESS, "n4 became leader of term 2 without 1@1 (put a=1)", "in term 1")


def test_a_commit_of_an_old_leader_is_accepted_if_the_new_one_has_the_entry():
    story = Story(*FIVE)
    story.lead("n1", 1, "n2", "n3")
    story.append("n1 n2 n3", 1, 1, put(1))
    story.lead("n2", 2, "n3", "n4")
    story.append("n2 n3", 2, 2)
    story.commit("n1", 1)
    story.keeps_all()


def test_a_break_names_the_disks_that_were_lost():
    story = Story("n1", "n2", "n3")
    story.lead("n1", 1, "n2")
    story.append("n1 n2", 1, 1, put(1))
    story.commit("n1", 1)
    story.wipe("n2")
    story.lead("n2", 2, "n3")
    story.breaks(COMPLETENESS, "disks lost before: n2 at 1.000 s")


# State Machine Safety -----------------------------------------------------------------------


def applied_once():
    story = Story("n1", "n2", "n3")
    story.lead("n1", 1, "n2")
    story.write("n1", 1, 1, put(1), revision=2)
    return story


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(command=put(2, "2")), "n2 applies 1@1 (put a=2) at index 1, where n1 applied 1@1"),
        (dict(command=None), "n2 applies 1@1 (a no-op) at index 1"),
        (dict(term=2), "n2 applies 1@2 (put a=1) at index 1, where n1 applied 1@1 (put a=1)"),
        (dict(revision=3), "brings n2 to revision 3, and it brought n1 to revision 2"),
        (dict(error="KeyNotFound"), "and says: KeyNotFound; n1 said: carried it out"),
    ],
    ids=["command", "no-op", "term", "revision", "error"],
)
def test_a_different_outcome_is_rejected(change, words):
    story = applied_once()
    story.apply("n2", **{**dict(index=1, term=1, command=put(1), revision=2), **change})
    story.breaks(MACHINE_SAFETY, words)


def test_the_same_outcome_is_accepted():
    story = applied_once()
    story.apply("n2 n3", 1, 1, put(1), revision=2)
    story.keeps_all()


def test_the_same_refusal_is_accepted():
    story = Story("n1", "n2")
    story.apply("n1 n2", 1, 1, put(1), 1, "KeyNotFound")
    story.keeps_all()


def test_a_skipped_index_is_rejected():
    story = applied_once()
    story.apply("n1", 3, 1, put(3), revision=3)
    story.breaks(MACHINE_SAFETY, "n1 applies index 3 right after index 1")


def test_a_second_application_is_rejected():
    story = applied_once()
    story.apply("n1", 1, 1, put(1), revision=2)
    story.breaks(MACHINE_SAFETY, "n1 applies index 1 right after index 1")


def test_applying_again_after_a_restart_is_accepted():
    story = applied_once()
    story.restart("n1", 1, applied=0)
    story.apply("n1", 1, 1, put(1), revision=2)
    story.keeps_all()


def test_applying_again_after_a_restart_with_another_outcome_is_rejected():
    """A store that kept its data but not how far it had got carries a put out twice."""
    story = applied_once()
    story.restart("n1", 1, applied=0)
    story.apply("n1", 1, 1, put(1), revision=3)
    story.breaks(MACHINE_SAFETY, "brings n1 to revision 3, and it brought n1 to revision 2")


def test_going_on_after_a_restart_is_accepted():
    story = applied_once()
    story.restart("n1", 1, applied=1)
    story.apply("n1", 2, 1, put(2), revision=3)
    story.keeps_all()


def test_starting_over_after_a_lost_disk_is_accepted():
    story = applied_once()
    story.wipe("n1")
    story.apply("n1", 1, 1, put(1), revision=2)
    story.keeps_all()


def test_a_follower_that_commits_its_own_stale_entry_is_rejected():
    """What a heartbeat with too high a commit index does (rule `commit_for`)."""
    story = Story("n1", "n2", "n3")
    story.append("n2", 1, 1, put(1))
    story.lead("n1", 2, "n2", "n3")
    story.append("n1 n3", 1, 2, put(2))
    story.commit("n1", 1)
    story.commit("n2", 1)
    story.breaks(MACHINE_SAFETY, "n2 commits 1@1 (put a=1), and n1 had committed 1@2 (put a=1)")


def test_a_commit_beyond_the_log_is_rejected():
    story = Story("n1")
    story.append("n1", 1, 1)
    story.tell("n1", Committed(2, 1, 0))
    story.breaks(MACHINE_SAFETY, "n1 commits 2@1, and its log ends at index 1")


def test_a_commit_of_another_term_than_the_log_has_is_rejected():
    story = Story("n1")
    story.append("n1", 1, 1)
    story.tell("n1", Committed(1, 2, 0))
    story.breaks(MACHINE_SAFETY, "n1 commits 1@2, and its log has 1@1 (a no-op) there")


def test_commits_in_leaps_and_again_after_restart_are_accepted():
    story = Story("n1", "n2")
    for index in 1, 2, 3:
        story.append("n1 n2", index, 1, put(index))
    story.commit("n1", 3, old=0)
    story.commit("n2", 1, old=0)
    story.commit("n2", 3, old=1)
    story.restart("n2", 1)
    story.commit("n2", 2, old=0)
    story.keeps_all()
    assert "3 committed entries" in story.verdicts()[COMPLETENESS].why


# Durability of acknowledged writes ----------------------------------------------------------


def acknowledged():
    """n1 leads, put a=1 is on n1 and n2, applied by n1, and c1 knows."""
    story = Story("n1", "n2", "n3")
    story.lead("n1", 1, "n2")
    story.ask(put(1))
    story.append("n1 n2", 1, 1, put(1))
    story.commit("n1", 1)
    story.apply("n1", 1, 1, put(1), revision=2)
    story.answer(put(1), revision=2)
    return story


def test_an_answer_before_anybody_applied_is_rejected():
    story = Story("n1")
    story.ask(put(1))
    story.append("n1", 1, 1, put(1))
    story.answer(put(1))
    story.breaks(DURABILITY, "c1 was told by n1 that put a=1 is done, and no node has applied it")


@pytest.mark.parametrize("outcome", [dict(error="TimedOut", unknown=True), dict(error="NoLeader")])
def test_an_answer_that_says_no_is_accepted(outcome):
    story = Story("n1")
    story.ask(put(1))
    story.answer(put(1), **outcome)
    story.keeps_all()


def test_a_read_needs_no_entry():
    story = Story("n1")
    story.tell("c1", Invoked(1, "n1", Range(b"a")))
    story.tell("c1", Returned(1, "n1", RangeResult(), 1))
    story.keeps_all()
    assert story.verdicts()[DURABILITY].why.startswith("0 acknowledged writes")


def test_a_later_leader_without_the_write_is_rejected():
    story = acknowledged()
    story.wipe("n2")
    story.lead("n2", 2, "n3")
    story.breaks(COMPLETENESS)
    verdict = story.verdicts()[DURABILITY]
    assert verdict.record == story.trace[-1]
    assert "n2, leader of term 2, has nothing at index 1, where c1's put a=1" in verdict.why


def test_a_later_leader_with_something_else_there_is_rejected():
    """Leader Completeness could not see it: nobody told when the entry was committed."""
    story = Story("n1", "n2")
    story.ask(put(1))
    story.append("n1", 1, 1, put(1))
    story.apply("n1", 1, 1, put(1), 2)
    story.answer(put(1))
    story.append("n2", 1, 2, put(2, "2"))
    story.lead("n2", 3)
    story.breaks(DURABILITY, "n2, leader of term 3, has 1@2 (put a=2) at index 1")


def test_a_leader_of_an_older_term_that_wins_late_need_not_have_it():
    story = Story("n1", "n2")
    story.lead("n1", 3)
    story.ask(put(1))
    story.write("n1", 1, 3, put(1), revision=2)
    story.answer(put(1))
    story.lead("n2", 2)
    story.keeps_all()


def test_another_command_applied_in_its_place_is_rejected():
    story = acknowledged()
    story.apply("n3", 1, 2, put(2, "2"), revision=2)
    verdicts = story.verdicts()
    assert [verdict.promise for verdict in verdicts.broken] == [MACHINE_SAFETY, DURABILITY]
    assert "n3 applies 1@2 (put a=2) at index 1, where c1's put a=1" in verdicts[DURABILITY].why


def test_an_answer_for_what_others_hold_differently_is_rejected():
    story = Story("n1", "n2")
    story.ask(put(1))
    story.apply("n2", 1, 2, put(2, "2", "n2"), revision=2)
    story.apply("n1", 1, 1, put(1), revision=2)
    story.answer(put(1))
    verdict = story.verdicts()[DURABILITY]
    assert verdict.record == story.trace[-1]
    assert "is done (index 1), and n2 applied 1@2 (put a=2) there" in verdict.why


def test_a_write_that_lives_on_is_accepted():
    story = acknowledged()
    story.restart("n1", 1, applied=0)
    story.lead("n2", 2, "n3")
    story.append("n3", 1, 1, put(1))
    story.apply("n2 n3 n1", 1, 1, put(1), revision=2)
    story.keeps_all()
    assert story.verdicts()[DURABILITY].why == "1 acknowledged write, each still in its place"


def test_a_write_that_was_not_acknowledged_may_vanish():
    story = Story("n1", "n2", "n3")
    story.lead("n1", 1, "n2")
    story.ask(put(1))
    story.append("n1", 1, 1, put(1))
    story.lead("n2", 2, "n3")
    story.append("n2 n3", 1, 2, None)
    story.commit("n2", 1)
    story.follow("n1", 2, "n2")
    story.cut("n1", 0)
    story.append("n1", 1, 2, None)
    story.keeps_all()


def test_the_same_number_at_another_node_is_another_operation():
    story = Story("n1", "n2")
    story.ask(put(1, "1", "n2"))
    story.apply("n1", 1, 1, put(1, "1", "n1"), revision=2)
    story.answer(put(1, "1", "n2"))
    story.breaks(DURABILITY, "c1 was told by n2 that put a=1 is done, and no node has applied it")


def test_a_delete_is_a_write():
    delete = Command("n1", 1, DeleteRange(b"a"))
    story = Story("n1")
    story.ask(delete)
    story.answer(delete)
    story.breaks(DURABILITY, "delete a")


# The checker itself -------------------------------------------------------------------------


def everything_broken():
    story = acknowledged()
    story.append("n3", 1, 1, put(1, "other"))
    story.lead("n3", 1)
    story.lead("n3", 2)
    story.cut("n3", 0)
    story.apply("n2", 2, 1, put(2), 3)
    story.apply("n3", 1, 1, put(3), 3)
    story.lead("n1", 2)
    return story


def test_each_promise_has_its_first_break_and_the_number_of_later_ones():
    verdicts = everything_broken().verdicts()
    assert [verdict.promise for verdict in verdicts] == list(SECTIONS)
    assert [verdict.ok for verdict in verdicts] == [False] * 6
    assert verdicts[ELECTION_SAFETY].later == 1 and verdicts[LOG_MATCHING].later == 0
    assert str(verdicts[ELECTION_SAFETY]).endswith("(seed 7); broken 1 time more later on")


def test_reading_along_gives_what_reading_afterwards_gives(tmp_path):
    story = everything_broken()
    along, live = check.Invariants(), Trace(seed=7)
    along.attach(live)
    broke_at = None
    for record in story.trace:
        live.add(record.time, record.node, record.event, record.cause)
        if along.broken and broke_at is None:
            broke_at = record
    assert broke_at == along.broken.record
    assert along.verdicts() == story.verdicts()
    story.trace.save(tmp_path / "run.jsonl")
    assert check.invariants(Trace.load(tmp_path / "run.jsonl")) == story.verdicts()


def test_attaching_reads_first_what_was_told_before():
    story = Story(*FIVE)
    story.lead("n1", 2, "n2")
    late = check.Invariants().attach(story.trace)
    assert late.broken is None
    story.lead("n3", 2, "n4")
    assert late.broken.promise == ELECTION_SAFETY and late.verdicts() == story.verdicts()


def test_a_copy_goes_its_own_way_with_the_copy_of_the_trace():
    story = Story("n1", "n2", "n3")
    checker = check.Invariants().attach(story.trace)
    story.lead("n1", 1, "n2")
    story.write("n1 n2", 1, 1, put(1), revision=2)
    twin, twin_trace = copy.deepcopy((checker, story.trace))
    twin.attach(twin_trace)
    seen = len(twin_trace)
    twin_trace.add(9.0, "n1", Appended((Entry(2, 1, put(3)),)), None)
    twin_trace.add(9.0, "n3", BecameLeader(1, ("n3",), ZERO), None)
    assert twin.broken.promise == ELECTION_SAFETY and twin.broken.record.seq == seen + 1
    assert twin.verdicts() == check.invariants(twin_trace)
    assert checker.broken is None and checker.verdicts() == story.verdicts()
    story.append("n1", 2, 1, put(4))
    story.commit("n1", 2)
    assert checker.verdicts() == story.verdicts() and checker.broken is None


def test_a_cluster_is_as_good_as_its_trace():
    class Cluster:
        trace = everything_broken().trace

    assert check.invariants(Cluster()) == check.invariants(Cluster.trace)


def test_raise_if_broken_raises_the_first_break():
    acknowledged().verdicts().raise_if_broken()
    with pytest.raises(Violation, match=r"Log Matching is broken: n3 has put a=other.*seed 7"):
        everything_broken().verdicts().raise_if_broken()


def test_verdicts_show_themselves():
    good, bad = acknowledged().verdicts(), everything_broken().verdicts()
    assert repr(good) == "<Verdicts on 6 promises, all kept>"
    assert repr(bad).startswith("<Verdicts on 6 promises, broken: Log Matching, Election Safety")
    assert bad._repr_html_().count("✗ broken") == 6 and good._repr_html_().count("✓ kept") == 6
    assert len(good) == 6 and good[0].promise == ELECTION_SAFETY and len(good[1:3]) == 2
    with pytest.raises(KeyError, match="there are: Election Safety, Leader Append-Only"):
        good["Liveness"]
    assert str(good[0]) == "Election Safety is kept: 1 term had a leader, and none had two"


def test_html_escapes_what_users_wrote():
    story = Story("n1", "n2")
    story.append("n1", 1, 1, put(1, "<b>"))
    story.append("n2", 1, 1, put(1, "<i>"))
    html = story.verdicts()._repr_html_()
    assert "&lt;b&gt;" in html and "<i>" not in html


def test_heartbeats_and_packets_are_not_looked_at():
    from kvlearn import events

    trace = Trace()
    check.Invariants().attach(trace)
    for kind in "Sent Received Dropped Progressed Saved VoteGranted ReadConfirmed".split():
        assert getattr(events, kind) not in trace._readers
