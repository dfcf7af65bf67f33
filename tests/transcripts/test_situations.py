"""The situations that etcd-io/raft tests with a transcript (`testdata/*.txt`) are told here, too,
each in a transcript of our own that names the situation in its header."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kvlearn.sim.script import Block, parse

HERE = Path(__file__).parent
MOST_LINES = 120  # of a transcript; nobody reads the diff of a longer one
SITUATIONS = {  # etcd-io/raft testdata -> who tells it
    "async_storage_writes": "disk_is_busy",
    "async_storage_writes_append_aba_race": "overwritten_while_saving",
    "campaign": "election",
    "campaign_learner_must_vote": "voter_without_knowing",
    "checkquorum": "leader_without_majority",
    "confchange_disable_validation": "one_change_at_a_time",
    "confchange_v1_add_single": "add_voter",
    "confchange_v1_remove_leader": "remove_leader",
    "confchange_v1_remove_leader_stepdown": "remove_leader_steps_down",
    "confchange_v2_add_double_auto": "add_two_voters",
    "confchange_v2_add_double_implicit": "add_voter_jointly",
    "confchange_v2_add_single_auto": "add_voter_by_snapshot",
    "confchange_v2_add_single_explicit": "joint_until_told",
    "confchange_v2_replace_leader": "replace_leader_by_transfer",
    "confchange_v2_replace_leader_stepdown": "replace_leader_steps_down",
    "forget_leader": "forget_leader",
    "forget_leader_prevote_checkquorum": "forget_leader_to_vote",
    "forget_leader_read_only_lease_based": "forget_leader_and_leases",
    "heartbeat_resp_recovers_from_probing": "heartbeat_ends_probing",
    "lagging_commit": "late_commit",
    "prevote": "pre_vote",
    "prevote_checkquorum": "pre_vote_against_a_leader",
    "probe_and_replicate": "figure_7",
    "replicate_pause": "inflight_full",
    "single_node": "single_node",
    "slow_follower_after_compaction": "behind_the_compaction",
    "snapshot_succeed_via_app_resp": "snapshot_is_all",
    "snapshot_succeed_via_app_resp_behind": "snapshot_overtaken",
}
SCENES = sorted(HERE.glob("*.txt"))


def header(path: Path) -> str:
    """The comments at the head of a transcript, as one line."""
    lines = path.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines)


def test_there_are_28_of_them():
    assert len(SITUATIONS) == len(set(SITUATIONS.values())) == 28


def test_each_is_told_by_the_transcript_that_names_it():
    told = {
        name: path.stem
        for path in SCENES
        for name in re.findall(r'etcd-io/raft testdata, the situation of "(\w+)"', _joined(path))
    }
    assert told == SITUATIONS


def _joined(path: Path) -> str:
    """The header, where "and testdata" after another file of etcd-io/raft means the same."""
    return re.sub(r"etcd-io/raft [^;]* and testdata,", "etcd-io/raft testdata,", header(path))


@pytest.mark.parametrize("path", SCENES, ids=[path.stem for path in SCENES])
def test_a_transcript_is_short_and_ends_in_a_check(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    last = [part for part in parse(text) if isinstance(part, Block)][-1]
    assert last.commands[-1][1] == "check"
    assert last.told[-1] == "every promise is kept"
