"""Transcripts: what can be said, what comes of it, and what is said to who says it wrong."""

from __future__ import annotations

import pytest

from kvlearn.raft.raft import Raft
from kvlearn.sim.commands import COMMANDS
from kvlearn.sim.script import Block, ScriptError, main, parse, play

ELECTED = "cluster 3\nquiet\ncampaign n1\nstabilize\nloud\n"

GOOD = """\
# A cluster of one.

cluster 1
tick n1 20
stabilize
----
n1 becomes candidate in term 1: heard no leader for 18 ticks, its log ends at 0@0
n1 saved term 1, vote n1
n1 becomes leader in term 1 with the votes of n1
n1 appends 1@1(no-op)
n1 saved term 1, vote n1, entry 1
n1 commits entry 1, up to 1@1
n1 applies 1@1: a no-op (revision 1)
"""


class Loner(Raft):
    """Leads with its own vote."""

    def election_result(self) -> str:
        return "won"


def told(commands: str) -> list[str]:
    """What the last block of a transcript tells."""
    return list(play(commands).blocks[-1].told)


# Text -------------------------------------------------------------------------------------------


def test_a_text_is_cut_into_comments_and_blocks():
    commands = ((3, "cluster 1"), (4, "tick n1 20"), (5, "stabilize"))
    block = Block(commands, tuple(GOOD.splitlines()[6:]))
    assert parse(GOOD) == ["# A cluster of one.", "", block]


def test_a_played_text_is_the_given_one():
    playback = play(GOOD)
    assert playback.ok and playback.diff() == ""
    assert playback.text + "\n" == GOOD


def test_a_missing_rule_is_added_with_what_happened():
    bare = GOOD[: GOOD.index("----")]
    assert play(bare).text + "\n" == GOOD


def test_another_story_gives_a_diff():
    playback = play(GOOD.replace("votes of n1", "votes of n2"))
    assert not playback.ok
    assert "-n1 becomes leader in term 1 with the votes of n2" in playback.diff()
    assert "+n1 becomes leader in term 1 with the votes of n1" in playback.diff()


def test_a_hash_among_what_is_told_is_no_comment():
    assert parse("heal\n----\n# told")[0].told == ("# told",)


def test_where_nothing_happens_it_says_ok():
    assert told("cluster 3") == ["ok"]


def test_a_playback_shows_itself():
    playback = play(GOOD)
    assert repr(playback) == "<Playback of 1 blocks, as told>"
    assert (
        playback._repr_html_().startswith("<pre") and "n1 becomes leader" in playback._repr_html_()
    )
    assert playback.trace is playback.cluster.trace and playback.verdicts().ok


# What goes wrong --------------------------------------------------------------------------------

WRONG = [
    ("campain n1", "there is no command 'campain'; did you mean campaign?"),
    ("n1 becomes leader", "is the line ---- missing above it?"),
    ("n1→n2 Vote? t1", "is the line ---- missing above it?"),
    ("crash n9", "there is no node 'n9': the nodes are n1, n2, n3"),
    ("crash", "it reads: crash node [kept=n]"),
    ("heal now", "it reads: heal"),
    ("crash n1 keep=1", "there is no option 'keep'; did you mean kept?"),
    ("crash n1 kept=7", "of 1 unforced records n1 cannot keep 7"),
    ("start n1", "n1 is running; crash it first"),
    ("campaign n1", "n1 leads already"),
    ("tick n1 one", "there is no node 'one'"),
    ("tick 1 2", "one number at most"),
    ("deliver n1-n2", "there is no node 'n1-n2'"),
    ("cut n1", "a link reads n1→n2 or n1->n2, not 'n1'"),
    ("deliver n1→n2", "no such message is on its way; the messages are: none"),
    ("put n1 a", "a put reads key=value"),
    ("get n1 a stale", "`serializable` or `prefix` may stand here, but not 'stale'"),
    ("quiet saves", "there is no event 'saves'; did you mean saved?"),
    ("log n1 1 1", "logs are given right after `cluster`, before anything happens"),
    ("partition n1 | n1", "a node can be in one group only"),
    ("partition n1 n2 n3", "a partition needs two groups"),
    ("resume n1", "n1 is not paused"),
    ("conf n1 n4", "a change reads +n4 (voter), ~n4 (learner) or -n4, not 'n4'"),
    ("conf n1", "it reads: conf node +n4 ~n5 -n2 [explicit] | leave"),
    ("transfer n1", "it reads: transfer node node"),
    ("join four", "a node is called n and a number, not 'four'"),
    ("join n4 voter", "after the name comes nothing, or `learner`, but not 'voter'"),
    ("join n2", "n2 exists and is not empty; wipe it first"),
    ("compact n1 keep=1", "there is no option 'keep'; did you mean kept?"),
    ("report n1→n2 lost", "a snapshot arrived or failed, not 'lost'"),
    ("report n1 arrived", "a link reads n1→n2 or n1->n2, not 'n1'"),
    ("forget n9", "there is no node 'n9'"),
    ("wype n1", "there is no command 'wype'; did you mean wipe?"),
    ("cluster 3 prevote=1", "there is no option 'prevote'; did you mean pre_vote?"),
    ("cluster 10", "a cluster has 1 to 9 nodes, not 10"),
    ("cluster three", "the size of a cluster is a number, not 'three'"),
    ("cluster 3 raft=VotesTwise", "there is no Raft called 'VotesTwise'; did you mean VotesTwice?"),
    ("cluster 3 max_inflght=2", "there is no option 'max_inflght'; did you mean max_inflight?"),
    ("cluster 3 election_ticks=1", "election_ticks (1) must be above heartbeat_ticks (1)"),
]


@pytest.mark.parametrize("command, why", WRONG, ids=[command for command, _ in WRONG])
def test_a_wrong_command_is_explained(command, why):
    with pytest.raises(ScriptError) as caught:
        play(ELECTED + command)
    assert caught.value.line == 6
    assert str(caught.value).startswith(f"line 6: `{command}`: ")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "text, line, why",
    [
        ("crash n1", 1, "there is no cluster yet; begin with `cluster 3`"),
        ("# only a comment", 1, "there is no cluster"),
        ("cluster 3\n\n----\nok", 3, "there is no command above this ----"),
        ("cluster 3\nlog n7 1", 2, "there is no node 'n7': the nodes are n1 to n3"),
        ("cluster 3\nlog n1 2 1", 2, "the terms of a log start at 1 and never fall: 2 1"),
        ("cluster 3\nlog n1 0", 2, "the terms of a log start at 1 and never fall: 0"),
        ("cluster 3\nlog n1 1 2 term=1", 2, "a node in term 1 cannot have an entry of term 2"),
        ("cluster 3\nlog n1 1 commit=2", 2, "commit 2 is not in a log of 1 entries"),
        ("cluster 3\nlog n1 x", 2, "a term is a number, not 'x'"),
    ],
)
def test_a_wrong_text_is_explained(text, line, why):
    with pytest.raises(ScriptError) as caught:
        play(text)
    assert caught.value.line == line and why in str(caught.value)


def test_a_failed_assertion_of_the_core_is_told():
    class Tells(Raft):
        def _commit(self, index):
            raise AssertionError("told to commit what is not there")

    with pytest.raises(ScriptError, match="a node stops, because told to commit what is not there"):
        play("cluster 1\ncampaign n1\nstabilize", raft=Tells)


# What can be said -------------------------------------------------------------------------------


def test_every_command_is_in_the_help(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text for name in COMMANDS)
    assert max(map(len, text.splitlines())) <= 100


def test_what_a_disk_holds_can_be_given():
    lines = told("cluster 3\nlog n2 1 1 4 term=6 vote=n3 commit=2\nstatus n2\nlog n2")
    assert lines == [
        "n2 follower: term 6, vote n3, log to 3@4, commit 2, applied 0, revision 1",
        "n2: 1@1 2@1 | 3@4",
    ]


def test_an_empty_log_may_have_a_term():
    assert told("cluster 3\nlog n1 term=3\nstatus n1")[0].startswith("n1 follower: term 3")


def test_an_arrow_may_be_typed():
    assert told(ELECTED + "tick n1\nready n1\n\ndeliver n1->n2") == ["n1→n2 Beat"]


def test_messages_are_named_by_how_they_begin():
    start = ELECTED + "quiet\nput n1 a=1\nready n1\nput n1 b=2\nready n1\nloud\n\n"
    assert told(start + "deliver n1→n2 App 2@1\nmessages")[:2] == [
        "n1→n2 App 2@1→3@1",
        "  n2 refuses n1's entries in term 1: it continues 2@1, and my log ends at 1@1",
    ]


def test_a_star_is_any_node():
    start = ELECTED + "put n1 a=1\nready n1\ntick n1\nready n1\n\n"
    assert told(start + "drop n1→* App") == [
        "n1→n2 App 1@1→2@1 ✗ dropped",
        "n1→n3 App 1@1→2@1 ✗ dropped",
    ]
    assert told(start + "drop *→n3") == ["n1→n3 App 1@1→2@1 ✗ dropped", "n1→n3 Beat ✗ dropped"]
    with pytest.raises(ScriptError, match=r"no such message is on its way"):
        play(start + "drop n2→*")
    with pytest.raises(ScriptError, match=r"there is no node '\*'"):
        play(start + "cut n1→*")


def test_a_message_that_is_held_back_comes_when_it_is_named():
    start = ELECTED + "tick n1\nready n1\nhold n1→n2 Beat\nstabilize\n\n"
    assert told(start + "messages") == ["n1→n2 Beat (held back)"]
    assert told(start + "deliver\nmessages") == ["n1→n2 Beat (held back)"]
    assert told(start + "deliver n1→n2 Beat\nready n2") == ["n1→n2 Beat", "n2→n1 Beat ok …"]


def test_a_doubled_message_leaves_a_copy_behind():
    start = ELECTED + "tick n1\nready n1\nduplicate n1→n2 Beat\nstabilize\n\n"
    assert told(start + "messages") == ["n1→n2 Beat (held back)"]


def test_lost_messages_are_marked():
    start = ELECTED + "tick n1\nready n1\n\n"
    assert told(start + "drop n1→n2") == ["n1→n2 Beat ✗ dropped"]
    assert told(start + "cut n1→n2\ndeliver n1→n2")[1:] == ["n1→n2 Beat ✗ cut"]
    assert told(start + "crash n2\ndeliver n1→n2")[1:] == ["n1→n2 Beat ✗ n2 is down"]


def test_a_paused_node_does_nothing():
    start = ELECTED + "pause n2\ntick n1\nstabilize\n\n"
    assert told(start + "status n2\nmessages") == [
        "n2 follower (paused) of n1: term 1, vote n1, log to 1@1, commit 1, applied 1, revision 1",
        "n1→n2 Beat",
    ]
    assert told(start + "resume n2\nstabilize n2 n1") == [
        "n2 goes on after its pause",
        "n1→n2 Beat",
        "n2→n1 Beat ok",
    ]
    with pytest.raises(ScriptError, match="n2 is paused; resume it first"):
        play(start + "deliver n2")


def test_a_crash_may_keep_some_of_what_was_written():
    start = ELECTED + "put n1 a=1\nput n1 b=2\nwrite n1\n\n"
    assert told(start + "crash n1 kept=1\nlog n1")[-1] == "n1 (down): 1@1 | 2@1(put a=1)"
    assert told(start + "crash n1\nlog n1")[-1] == "n1 (down): 1@1 |"


def test_only_some_nodes_may_rest():
    lines = told(ELECTED + "put n1 a=1\nstabilize n1 n3\nlog")
    assert lines[-3:] == ["n1: 1@1 2@1(put a=1) |", "n2: 1@1 |", "n3: 1@1 2@1(put a=1) |"]


def test_events_can_be_left_out_and_let_in():
    start = ELECTED + "quiet saved applied\nloud progressed\nput n1 a=1\nstabilize"
    lines = told(start)
    assert not [line for line in lines if "saved" in line or "applies" in line]
    assert "  n1 knows n2 in state replicate: match 2, next 3" in lines
    assert "n1 saved" in "\n".join(told(start.replace("stabilize", "loud\nstabilize")))


def test_looks():
    start = ELECTED + "quiet\nput n1 a=1\nput n1 a=2\ndelete n1 a\nput n1 b=1\nstabilize\nloud\n\n"
    assert told(start + "index n3") == ["n3 a: {2.0 3.0 4.0(t)} {}", "n3 b: {5.0}"]
    assert told(start + "get n1 b\nstabilize")[-1] == "c1 gets b=1 from n1 at revision 5"
    assert told(start + "progress") == [
        f"n1 on {n}: replicate match=5 next=6" for n in ("n2", "n3")
    ]
    assert told(start + "progress n2") == ["no leader, no progress"]
    assert told("cluster 2\nindex n1") == ["n1 has no keys"]
    assert told(start + "log n2 n3")[1].startswith("n3: 1@1 2@1(put a=1) 3@1(put a=2)")
    assert told(start + "check") == ["every promise is kept"]
    assert told(start + "crash n1\nindex n1\nstatus n1")[1:] == [
        "n1 has no keys",
        "n1 down: term 1, vote n1, log to 5@1",
    ]


def test_what_hidden_arrivals_lead_to_is_not_indented():
    lines = told(ELECTED + "quiet sent received\nput n1 a=1\nstabilize")
    assert "n2 appends 2@1(put a=1)" in lines
    assert not [line for line in lines if line.startswith(" ") or "→" in line]


def test_progress_tells_what_is_on_its_way():
    start = ELECTED.replace("3", "3 max_inflight=2 chunk_records=1")
    start += "quiet\nput n1 a=1\nready n1\nloud\n\n"
    sent = "n1 on n3: replicate match=1 next=3, 1 on their way"
    assert told(start + "progress n1")[1] == sent
    more = "quiet\nput n1 b=2\nready n1\nstabilize n1 n2\nloud\n\n"
    full = "n1 on n3: replicate match=1 next=4, 2 on their way, and no more may leave"
    assert told(start + more + "progress n1")[1] == full
    lost = "quiet\ndrop\ncompact n1\ntick n1\nstabilize n1 n3\nready n1\nloud\n\n"
    back = "n1 on n3: replicate match=3 next=4"
    assert told(start + more + lost + "progress n1")[1] == back
    # One by one, until the first chunk is on its way.
    step = "ready n1\ndeliver n3\nready n3\ndeliver n3→n1\n"
    lost = f"quiet\ndrop\ncompact n1\ntick n1\n{step * 2}ready n1\nloud\n\n"
    snapshot = "n1 on n3: snapshot match=1 next=4, gets the snapshot of 3@1"
    assert told(start + more + lost + "progress n1")[1] == snapshot


def test_members_are_told_by_everybody_for_itself():
    start = ELECTED + "quiet\njoin n4\nconf n1 +n4 -n3 explicit\nstabilize\ncrash n2\nloud\n\n"
    joint = "(n1 n2 n4)&&(n1 n2 n3)"
    assert told(start + "members") == [
        f"n1 counts by {joint}",
        "n2 is down",
        f"n3 counts by {joint}",
        f"n4 counts by {joint}",
    ]
    assert told(start + "quiet\nconf n1 leave\nstabilize\nloud\nmembers n3\nstatus n3") == [
        "n3 counts by (n1 n2 n4)",
        "n3 outside, hears n1: term 1, vote n1, log to 3@1, commit 3, applied 3, revision 1",
    ]


def test_a_broken_promise_is_told():
    scene = (
        "cluster 4 raft=WinsWithoutMajority\nquiet\ncampaign n1 n3\npartition n1 n2\nstabilize\n"
    )
    assert told(scene + "loud\ncheck")[0].startswith("Election Safety is broken: n1 and n3 both ")


def test_a_class_may_be_given_by_name_or_for_all():
    stands = "campaign n2\nready n2"
    scene = f"cluster 3 n2=Loner\n{stands}"
    lines = told(f"cluster 3\n{stands}\nquiet") + [
        "n2 becomes leader in term 1 with the votes of n2"
    ]
    assert list(play(scene, classes={"Loner": Loner}).blocks[-1].told)[: len(lines)] == lines
    assert list(play(f"cluster 3\n{stands}", raft=Loner).blocks[-1].told)[: len(lines)] == lines


def test_a_second_cluster_begins_anew():
    assert told(ELECTED + "\ncluster 1\nstatus") == [
        "n1 follower: term 0, vote -, log to 0@0, commit 0, applied 0, revision 1"
    ]


# The command line -------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    def write(text: str):
        path = tmp_path / "scene.txt"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_file_that_tells_the_truth(file, capsys):
    assert main([str(file(GOOD))]) == 0
    out, err = capsys.readouterr()
    assert out == GOOD
    assert err == "\n3 commands, every output as written\n"


def test_a_file_that_tells_another_story(file, capsys):
    path = file(GOOD.replace("term 1", "term 2"))
    assert main([str(path)]) == 1
    out, err = capsys.readouterr()
    assert "-n1 becomes leader in term 2" in out and "+n1 becomes leader in term 1" in out
    assert "--rewrite" in err
    assert main(["--rewrite", str(path)]) == 0
    assert path.read_text("utf-8") == GOOD


def test_a_file_without_the_rule(file, capsys):
    path = file(GOOD[: GOOD.index("----")])
    assert main([str(path)]) == 2
    assert "line 5: `stabilize` has no line ---- below it" in capsys.readouterr().err
    assert main([str(path), "--rewrite"]) == 0
    assert path.read_text("utf-8") == GOOD


def test_a_file_that_cannot_be_played(file, tmp_path, capsys):
    assert main([str(file("cluster 3\nfoo\n----\n"))]) == 2
    assert "scene.txt, line 2: `foo`: there is no command 'foo'" in capsys.readouterr().err
    nothing = tmp_path / "nothing.txt"
    assert main([str(nothing)]) == 2
    assert capsys.readouterr().err == f"kvlearn play: there is no file {nothing}\n"
    assert main([str(tmp_path)]) == 2
    assert f"{tmp_path} cannot be read: " in capsys.readouterr().err
    nothing.write_bytes(b"\xff")
    assert main([str(nothing)]) == 2
    assert "nothing.txt is no text in UTF-8" in capsys.readouterr().err


def test_several_files_give_the_worst_status(file, tmp_path, capsys):
    other = tmp_path / "other.txt"
    other.write_text(GOOD.replace("term 1", "term 2"), encoding="utf-8")
    assert main([str(file(GOOD)), str(other)]) == 1
    capsys.readouterr()


def test_wrong_arguments(capsys):
    assert main([]) == 2
    assert "usage: kvlearn play" in capsys.readouterr().out
    assert main(["--rewritte", "x.txt"]) == 2
    assert "there is no option --rewritte; did you mean --rewrite?" in capsys.readouterr().err
    assert main(["--rewrite"]) == 2
