"""The promises to watchers: histories that must be acquitted, and histories that must not.

Every history here is written by hand, record by record, as a node that breaks (or keeps) a promise
would tell it. The hub itself is acquitted on random runs, alone and in a cluster.
"""

from __future__ import annotations

from random import Random

import pytest

from kvlearn import Cluster, RaftConfig, check
from kvlearn.check.naive import NaiveStore
from kvlearn.check.watches import (
    AS_ASKED,
    ATOMIC,
    BOOKMARKABLE,
    ORDERED,
    RELIABLE,
    RESUMABLE,
    UNIQUE,
    WATCH_PROMISES,
    watches,
)
from kvlearn.course.watch_mutants import WATCH_MUTANTS, Stage
from kvlearn.errors import RequestError
from kvlearn.events import (
    Applied,
    Crashed,
    Notified,
    Started,
    StateLoaded,
    StreamClosed,
    WatchAsked,
)
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import Compact
from kvlearn.kv.requests import Command, DeleteRange, Put
from kvlearn.kv.txn import Txn
from kvlearn.kv.watches import WatchCancel, WatchCreate
from kvlearn.mvcc.revision import KeyValue
from kvlearn.mvcc.watch import KVEvent, WatchHub, WatchResponse
from kvlearn.trace import Trace


class Story:
    """A trace by hand. Events are written `a2`: what was made of key a at revision 2."""

    def __init__(self, *requests):
        self.trace, self.index, self.made = Trace(seed=7), 0, {}
        self.naive = NaiveStore()
        self.apply(*requests)

    def add(self, event, node: str = "n1") -> None:
        self.trace.add(len(self.trace) / 1000, node, event, None)

    def apply(self, *requests, nodes: str = "n1") -> Story:
        """The log grows, and each of `nodes` applies it."""
        for request in requests:
            self.index += 1
            self.naive.apply(request)
            command = Command("n1", self.index, request)
            for node in nodes.split():
                self.add(Applied(self.index, 1, command, self.naive.revision), node)
        for change in self.naive.changes:
            self.made[f"{change.kv.key_text}{change.revision}"] = change
        return self

    def put(self, keys: str, nodes: str = "n1") -> Story:
        """Put one key after the other."""
        return self.apply(
            *(Put(key.encode(), b"%d" % n) for n, key in enumerate(keys)), nodes=nodes
        )

    def watch(
        self, key="a", range_end="z", at=0, node="n1", stream="c1/w1", id=0, **wants
    ) -> Story:
        """Ask and be told `created`, at revision `at` (0: the present)."""
        at = at or self.naive.revision
        request = WatchCreate(key.encode(), range_end.encode(), **wants)
        self.add(WatchAsked(stream, request, at), node)
        return self.tell(WatchResponse(id, at, created=True), node, stream)

    def tell(self, response, node="n1", stream="c1/w1") -> Story:
        self.add(Notified(stream, response), node)
        return self

    def told(self, events="", revision=0, node="n1", id=0, fragment=False, stream="c1/w1") -> Story:
        """An answer with events, or a progress notification."""
        told = tuple(self.event(name) for name in events.split())
        answer = WatchResponse(id, revision or self.naive.revision, events=told, fragment=fragment)
        return self.tell(answer, node, stream)

    def event(self, name: str) -> KVEvent:
        change = self.made[name]
        return KVEvent(change.type, change.kv)

    def event_with(self, name: str, prev_kv: KeyValue | None) -> Story:
        change = self.made[name]
        told = (KVEvent(change.type, change.kv, prev_kv),)
        return self.tell(WatchResponse(0, change.revision, events=told))

    def keeps_all(self) -> None:
        verdicts = watches(self.trace)
        assert verdicts.ok, str(verdicts)
        assert [verdict.promise for verdict in verdicts] == list(WATCH_PROMISES)

    def breaks(self, promise: str, *words: str, also: tuple = ()) -> None:
        verdicts = watches(self.trace)
        broken = {verdict.promise for verdict in verdicts if not verdict.ok}
        assert broken == {promise, *also}, str(verdicts)
        verdict = verdicts[promise]
        for word in words:
            assert word in verdict.why
        assert verdict.record is not None and f"[record {verdict.record.seq}" in str(verdict)


# Acquittals ---------------------------------------------------------------------------------


def test_a_trace_without_watches_keeps_everything():
    Story().keeps_all()
    Story().put("aba").keeps_all()


def test_a_watcher_that_is_told_all_in_order():
    story = Story().watch().put("aba").told("a2").told("b3 a4")
    story.told(revision=4).put("b").told("b5").keeps_all()
    assert "4 events to 1 watcher" in watches(story.trace)[RELIABLE].why
    assert "1 progress notification" in watches(story.trace)[BOOKMARKABLE].why


def test_what_is_still_to_come_is_no_loss():
    Story().watch().put("aba").told("a2").keeps_all()


def test_a_transaction_is_told_in_its_order_and_deletions_as_well():
    story = Story().watch().apply(Txn((), (Put(b"b"), Put(b"a"))), DeleteRange(b"a", b"z"))
    story.told("b2 a2").told("a3 b3").keeps_all()


def test_two_watchers_of_a_stream_are_told_independently():
    story = Story().watch("a", "").watch("a", id=1).put("aba")
    story.told("a2").told("a2", id=1).told("b3 a4", id=1).told("a4").told(id=-1).keeps_all()


def test_the_same_id_on_another_stream_and_another_node_is_another_watcher():
    story = Story().watch().watch(stream="c2/w1").watch(node="n2", stream="c3/w1")
    story.put("a", nodes="n1 n2")
    story.told("a2").told("a2", stream="c2/w1").told("a2", node="n2", stream="c3/w1").keeps_all()


def test_a_refused_watch_is_no_watch():
    story = Story()
    story.add(WatchAsked("c1/w1", WatchCreate(b"b", b"a"), 1))
    story.tell(WatchResponse(-1, 1, created=True, canceled=True, cancel_reason="empty"))
    story.watch().put("a").told("a2").keeps_all()


def test_a_refused_request_is_no_change():
    story = Story().watch().put("a")
    story.index += 1
    story.add(Applied(2, 1, Command("n1", 2, Put(b"a", b"", 99)), 2, "lease not found"))
    story.put("a").told("a2 a3").keeps_all()


def test_entries_of_others_than_clients_are_no_changes():
    story = Story().watch()
    story.index += 1
    story.add(Applied(1, 1, None, 1))
    story.put("a").told("a2").keeps_all()


def test_filters_intervals_and_a_start_in_the_future():
    story = Story().watch("a", "b", filters=("delete",)).watch(id=1, start_revision=4)
    story.put("ab").apply(DeleteRange(b"a")).put("a")
    story.told("a2 a5").told("a4 a5", id=1).keeps_all()


def test_fragments_are_one_answer():
    story = Story().watch(fragment=True).apply(Txn((), (Put(b"a"), Put(b"b"), Put(b"c"))))
    story.told("a2 b2", fragment=True).told("c2").keeps_all()


def test_a_client_goes_on_at_another_node():
    story = Story().watch().put("aba", nodes="n1 n2").told("a2 b3")
    story.add(Crashed(1))
    story.watch(node="n2", start_revision=4).told("a4", node="n2").keeps_all()


def test_a_client_goes_on_behind_a_bookmark():
    story = Story().watch("a", "b").put("abb", nodes="n1 n2").told("a2").told(revision=4)
    story.add(Crashed(1))
    story.put("a", nodes="n2").watch("a", "b", node="n2", start_revision=5)
    story.told("a5", node="n2").keeps_all()


def test_half_of_the_fragments_are_asked_for_again():
    story = Story().watch(fragment=True).apply(Txn((), (Put(b"a"), Put(b"b"))), nodes="n1 n2")
    story.told("a2", fragment=True)
    story.add(Crashed(1))
    story.watch(node="n2", start_revision=2, fragment=True).told("a2 b2", node="n2").keeps_all()


def test_a_watcher_is_canceled_by_its_client():
    story = Story().watch().put("a")
    story.add(WatchAsked("c1/w1", WatchCancel(0), 2))
    story.told("a2").tell(WatchResponse(0, 2, canceled=True)).put("a").keeps_all()


def test_lost_history_is_told():
    story = Story().put("aaa").apply(Compact(4))
    story.watch(start_revision=2)
    story.tell(WatchResponse(0, 0, canceled=True, compact_revision=4)).keeps_all()


def test_a_deletion_at_the_compacted_revision_is_gone():
    story = Story().put("ab").apply(DeleteRange(b"a"), Compact(4)).put("b")
    story.watch(start_revision=4).told("b5").told(revision=5).keeps_all()


def test_a_node_learns_from_a_snapshot():
    story = Story().watch().put("a", nodes="n1 n2").told("a2")
    story.put("ba", nodes="n2")
    story.add(StateLoaded(3, 1, 4))
    story.told("b3 a4").told(revision=4).keeps_all()


def test_previous_pairs():
    story = Story().watch(prev_kv=True).put("aa").apply(DeleteRange(b"a"))
    first, second = (story.made[name].kv for name in ("a2", "a3"))
    story.event_with("a2", None).event_with("a3", first).event_with("a4", second).keeps_all()


def test_a_previous_pair_that_is_compacted_may_be_absent():
    story = Story().watch(prev_kv=True).put("aa")
    story.event_with("a2", None).apply(Compact(3)).event_with("a3", None).keeps_all()


# Verdicts of guilty -------------------------------------------------------------------------


def test_events_in_another_order_are_rejected():
    Story().watch().put("ab").told("b3").told("a2").breaks(ORDERED, "put a=0", "after revision 3")


def test_changes_of_a_transaction_in_another_order_are_rejected():
    story = Story().watch().apply(Txn((), (Put(b"b"), Put(b"a")))).told("a2 b2")
    story.breaks(ORDERED, "put b=")


def test_an_event_that_comes_twice_is_rejected():
    story = Story().watch().put("ab").told("a2").told("a2 b3")
    story.breaks(UNIQUE, "n1 tells c1/w1 of put a=0 at revision 2, and has done so before")
    assert watches(story.trace)[UNIQUE].record.seq == 5


def test_an_old_event_that_comes_again_is_not_out_of_order():
    Story().watch().put("ab").told("a2 b3").told("a2").breaks(UNIQUE)


def test_a_hole_is_rejected():
    story = Story().watch().put("aba").told("a2").told("a4")
    story.breaks(RELIABLE, "put a=2 at revision 4", "has not told it of put b=1 at revision 3")


def test_a_hole_before_the_first_event_is_rejected():
    Story().watch().put("ab").told("b3").breaks(RELIABLE)


def test_a_hole_within_a_transaction_is_rejected():
    story = Story().watch().apply(Txn((), (Put(b"a"), Put(b"b"), Put(b"c"))))
    story.told("a2 c2").breaks(RELIABLE, "put b=")


def test_a_hole_is_no_less_one_when_the_stream_ends():
    for end in Crashed(1), StreamClosed("c1/w1"), Started(1, None, (), 0, 4, ("n1",), 2):
        story = Story().watch().put("aba").told("a2").told("a4")
        story.add(end)
        story.breaks(RELIABLE)


def test_several_holes_are_counted():
    story = Story().watch().put("aaaaa").told("a2").told("a4").told("a6")
    story.breaks(RELIABLE, "revision 3")
    assert watches(story.trace)[RELIABLE].later == 1


def test_a_cancelation_for_history_that_was_heard_is_rejected():
    story = Story().watch().put("aaa").told("a2 a3 a4").apply(Compact(4))
    story.tell(WatchResponse(0, 0, canceled=True, compact_revision=4))
    story.breaks(RELIABLE, "4 is compacted, and it had all up to 4")


def test_a_cancelation_for_a_compaction_that_never_was_is_rejected():
    story = Story().watch().put("aaa").apply(Compact(2))
    story.tell(WatchResponse(0, 0, canceled=True, compact_revision=4))
    story.breaks(RELIABLE, "and it is not")


def test_a_deletion_that_is_missing_is_excused_by_a_compaction_there_only():
    for compacted in 2, 3:
        story = Story().watch().put("a").apply(DeleteRange(b"a")).put("b").apply(Compact(compacted))
        story.told("a2").told("b4")
        if compacted == 3:
            story.keeps_all()
        else:
            story.breaks(RELIABLE, "delete a at revision 3")


def test_a_deletion_that_is_missing_is_not_excused_by_a_later_compaction():
    story = Story().watch().put("a").apply(DeleteRange(b"a")).put("b").told("a2").told("b4")
    story.apply(Compact(3)).breaks(RELIABLE, "delete a at revision 3")


def test_a_torn_transaction_is_rejected():
    story = Story().watch().apply(Txn((), (Put(b"a"), Put(b"b")))).told("a2").told("b2")
    story.breaks(ATOMIC, "put b=", "in the answer before")


def test_fragments_that_are_not_marked_are_rejected():
    story = Story().watch(fragment=True).apply(Txn((), (Put(b"a"), Put(b"b"))))
    story.told("a2").told("b2").breaks(ATOMIC)


def test_fragments_that_nobody_asked_for_are_rejected():
    story = Story().watch().apply(Txn((), (Put(b"a"), Put(b"b"))))
    story.told("a2", fragment=True).told("b2").breaks(ATOMIC, "wants it whole")


def test_a_start_that_is_not_kept_is_rejected():
    story = Story().put("aa").watch(start_revision=2).put("a").told("a4")
    story.breaks(RESUMABLE, "has not told it of put a=0 at revision 2", "for all from 2 on")


def test_a_client_that_leaves_something_out_is_rejected():
    story = Story().watch().put("aaa", nodes="n1 n2").told("a2")
    story.add(Crashed(1))
    story.watch(node="n2", start_revision=4).told("a4", node="n2")
    story.breaks(RESUMABLE, "c1/w1 goes on at n2 from revision 4", "put a=1 at revision 3")


def test_a_client_that_asks_again_for_what_it_has_is_rejected():
    story = Story().watch().put("aaa", nodes="n1 n2").told("a2 a3")
    story.add(Crashed(1))
    story.watch(node="n2", start_revision=3).told("a3 a4", node="n2")
    story.breaks(RESUMABLE, "from revision 3, and n1 has told it of revision 3 already")


def test_a_bookmark_that_promises_too_much_is_rejected():
    for id in 0, -1:
        story = Story().watch().put("aa").told("a2").told(revision=3, id=id).told("a3")
        story.breaks(
            BOOKMARKABLE, "all up to revision 3 was sent, and put a=1 at revision 3 was not"
        )


def test_a_bookmark_beyond_what_the_node_knows_is_rejected():
    story = Story().watch("a", "").put("a", nodes="n1 n2").told("a2").put("b", nodes="n2")
    story.told(revision=3).breaks(BOOKMARKABLE, "knows no more than 2")


def test_a_bookmark_that_goes_back_is_rejected():
    story = Story().watch().put("aa").told("a2 a3").told(revision=2)
    story.breaks(BOOKMARKABLE, "was at 3 before")


def test_an_answer_with_a_revision_below_its_events_is_rejected():
    Story().watch().put("aa").told("a2 a3", revision=2).breaks(BOOKMARKABLE, "of revision 2")


def test_what_nobody_asked_for_is_rejected():
    story = Story().watch("a", "").put("ab").told("a2 b3")
    story.breaks(AS_ASKED, "put b=1", "which wants other keys: watch a")
    story = Story().watch(filters=("put",)).put("a").told("a2")
    story.breaks(AS_ASKED, "does not want to hear of any put")
    story = Story().watch(start_revision=3).put("aa").told("a2 a3")
    story.breaks(AS_ASKED, "3 and later")


def test_what_never_was_is_rejected():
    story = Story().watch().put("a")
    story.tell(WatchResponse(0, 2, events=(KVEvent("put", KeyValue(b"b", b"", 2, 2, 1)),)))
    story.breaks(AS_ASKED, "no such change")


def test_another_value_than_was_put_is_rejected():
    story = Story().watch().put("a")
    story.tell(WatchResponse(0, 2, events=(KVEvent("put", KeyValue(b"a", b"9", 2, 2, 1)),)))
    story.breaks(AS_ASKED, "put a=9", "the change was 2.0 put a=0")


def test_a_deletion_with_a_value_is_rejected():
    story = Story().watch().put("a").apply(DeleteRange(b"a")).told("a2")
    story.tell(WatchResponse(0, 3, events=(KVEvent("delete", KeyValue(b"a", b"0", 2, 3, 1)),)))
    story.breaks(AS_ASKED)


def test_a_wrong_previous_pair_is_rejected():
    for wrong in None, KeyValue(b"a", b"9", 2, 2, 1):
        story = Story().watch(prev_kv=True).put("aa").event_with("a2", None)
        story.event_with("a3", wrong).breaks(AS_ASKED, "that was a=0")


def test_a_previous_pair_that_nobody_asked_for_is_rejected():
    story = Story().watch().put("aa").told("a2")
    story.event_with("a3", story.made["a2"].kv).breaks(AS_ASKED)


def test_a_watch_that_is_not_there_is_rejected():
    Story().watch().put("a").told("a2", id=4).breaks(AS_ASKED, "watch 4", "not there")
    story = Story().put("a").tell(WatchResponse(0, 2, created=True))
    story.breaks(AS_ASKED, "has not asked")


def test_a_canceled_watch_that_goes_on_is_rejected():
    story = Story().put("aaa").apply(Compact(4)).watch(start_revision=2)
    story.tell(WatchResponse(0, 0, canceled=True, compact_revision=4)).told("a4")
    story.breaks(AS_ASKED, "whose watch is canceled")


def test_created_at_another_revision_than_the_stores_is_rejected():
    story = Story()
    story.add(WatchAsked("c1/w1", WatchCreate(b"a"), 1))
    story.tell(WatchResponse(0, 3, created=True)).breaks(AS_ASKED, "its store was at 1")


# A log that cannot be the truth -------------------------------------------------------------


def test_a_log_with_a_hole_is_no_truth():
    story = Story().watch().put("a")
    story.add(Applied(3, 1, Command("n1", 3, Put(b"a")), 3))
    with pytest.raises(ValueError, match="entry 2"):
        watches(story.trace)


def test_a_log_whose_revisions_do_not_add_up_is_no_truth():
    story = Story().watch()
    story.add(Applied(1, 1, Command("n1", 1, Put(b"a")), 9))
    with pytest.raises(ValueError, match="revision 9, not 2"):
        watches(story.trace)


# The hub itself -----------------------------------------------------------------------------

REPLAY = "python -c 'from tests.check.test_watches import hub_run; print(hub_run({seed}))'"


def some_request(rng: Random, revision: int):
    draw = rng.random()
    keys = rng.sample("abc", rng.randint(1, 3))
    if draw < 0.15:
        return DeleteRange(keys[0].encode(), rng.choice((b"", b"z")))
    if draw < 0.2:
        return Compact(rng.randint(1, revision))
    if draw < 0.5:
        return Txn((), tuple(Put(key.encode(), b"%d" % rng.randrange(9)) for key in keys))
    return Put(keys[0].encode(), b"%d" % rng.randrange(9))


def hub_run(seed: int, hub: type[WatchHub] = WatchHub):
    """Watchers of all kinds, slow and quick, with compactions and snapshots: the verdicts."""
    rng = Random(seed)
    limits = dict(capacity=rng.choice((1, 2, 9)), batch=rng.choice((1, 3, 50)), limit_bytes=70)
    stage = Stage(hub, **limits)
    streams = [f"c{n}/w1" for n in range(4)]
    for _ in range(60):
        stream, draw, now = rng.choice(streams), rng.random(), stage.machine.revision
        if draw < 0.12:
            start = rng.choice((0, 0, now - 2, now + 2, 1))
            filters = rng.choice(((), (), ("put",), ("delete",)))
            flags = {
                name: rng.random() < 0.4 for name in ("prev_kv", "progress_notify", "fragment")
            }
            end = rng.choice(("", "z"))
            stage.watch(stream, "a", end, start_revision=max(start, 0), filters=filters, **flags)
        elif draw < 0.16:
            stage.cancel(stream, rng.randrange(2))
        elif draw < 0.22:
            stage.ask_progress(stream)
        elif draw < 0.26:
            stage.hub.progress()
        elif draw < 0.28 and stage.ahead is None:
            stage.cut_off()
        elif draw < 0.32 and stage.ahead is not None:
            stage.load()
        elif draw < 0.4:
            stage.sync()
        elif draw < 0.6:
            stage.take(stream)
        else:
            ahead = stage.ahead or stage.machine
            stage.do(some_request(rng, ahead.revision))
    if stage.ahead:
        stage.load()
    stage.sync(times=60)
    return watches(stage.trace)


def test_the_hub_is_acquitted_on_random_runs():
    for seed in range(300):
        verdicts = hub_run(seed)
        assert verdicts.ok, f"{REPLAY.format(seed=seed)}\n{verdicts}"


@pytest.mark.parametrize("mutant", WATCH_MUTANTS.values(), ids=list(WATCH_MUTANTS))
def test_random_runs_find_every_mutant_too(mutant):
    """The witnesses are not the only way. One rule breaks in a corner that few runs come to."""
    broken = {
        verdict.promise for seed in (*range(8), 149) for verdict in hub_run(seed, mutant).broken
    }
    assert mutant.promise in broken


def cluster_run(seed: int, hub: type[WatchHub] = WatchHub) -> tuple[Cluster, list]:
    """Watchers in a cluster whose nodes crash and get snapshots, with slow clients and
    compactions; the cluster and the watchers, when all is mended and they had time."""
    rng = Random(seed)
    queue, batch = rng.choice((1, 2, 128)), rng.choice((1, 3, 1000))
    store = StoreConfig(watch_queue=queue, watch_batch=batch, progress_s=1.0, hub=hub)
    config = RaftConfig(snapshot_entries=10, kept_entries=2)
    cluster = Cluster(3, seed=seed, store=store, config=config)
    client, watchers = cluster.client(), []
    for step in range(40):
        draw, key = rng.random(), rng.choice("abc")
        try:
            if draw < 0.45:
                client.put(key, str(step))
            elif draw < 0.5:
                client.delete(key)
            elif draw < 0.62:
                now = client.get("a").header.revision
                start = rng.choice((0, 0, max(1, now - 3), now + 2))
                wants = dict(start_revision=start, prev_kv=draw < 0.55, progress_notify=True)
                watchers.append(client.watch("a", range_end="z", **wants))
            elif draw < 0.66:
                client.compact(rng.randint(1, client.get("a").header.revision))
            elif draw < 0.8 and watchers:
                watcher = rng.choice(watchers)
                rng.choice((watcher.hold, watcher.release, watcher.release))()
            elif draw < 0.9 and all(node.alive for node in cluster.nodes.values()):
                cluster.crash(rng.choice(("n1", "n2", "n3")))
            else:
                restart(cluster)
        except RequestError:
            pass  # nobody leads just now, or it is compacted already
    restart(cluster)
    for watcher in watchers:
        watcher.release()
    cluster.run(3)
    return cluster, watchers


def restart(cluster: Cluster) -> None:
    for name, node in cluster.nodes.items():
        if not node.alive:
            cluster.restart(name)


def test_the_hub_is_acquitted_in_clusters_whose_nodes_crash():
    resumed = loaded = 0
    for seed in range(20):
        trace = cluster_run(seed)[0].trace
        verdicts = check.watches(trace)
        assert verdicts.ok, f"seed {seed}: {verdicts}"
        served: dict[str, set[str]] = {}
        for record in trace.of(Notified):
            served.setdefault(record.event.stream, set()).add(record.node)
        resumed += sum(len(nodes) > 1 for nodes in served.values())
        loaded += sum(1 for _ in trace.of(StateLoaded))
    assert resumed > 5 and loaded > 5


def test_when_all_is_mended_every_client_has_heard_everything():
    """Not a promise to a watcher, who may be slow; but in the end nothing is left lying about."""
    complete = 0
    for seed in range(20):
        cluster, watchers = cluster_run(seed)
        naive, gone = NaiveStore(), set()
        for index, request in sorted(log_of(cluster.trace).items()):
            naive.apply(request)
            gone |= {request.revision} if isinstance(request, Compact) else set()
        for watcher in watchers:
            if watcher.canceled:
                continue
            created = next(answer for answer in watcher.responses if answer.created)
            start = watcher.request.start_revision or created.revision + 1
            heard = {(event.kv.mod_revision, event.kv.key) for event in watcher.events()}
            missing = [
                change
                for change in naive.events(b"a", b"z", start)
                if (change.revision, change.kv.key) not in heard
                and (change.put or change.revision not in gone)
            ]
            assert not missing, f"seed {seed}, {watcher.stream}: {missing}"
            complete += len(heard) > 0
    assert complete > 30


def log_of(trace: Trace) -> dict:
    """Index -> the request that was carried out there."""
    return {
        record.event.index: getattr(record.event.command, "request", None)
        for record in trace.of(Applied)
        if not record.event.error
    }


@pytest.mark.parametrize("name", ["RepeatsItself", "ForgetsTheSlow", "StartsTooLate", "TellsByKey"])
def test_a_broken_hub_is_convicted_in_a_cluster_too(name):
    mutant = WATCH_MUTANTS[name]
    for seed in range(40):
        trace = cluster_run(seed, mutant)[0].trace
        broken = {verdict.promise for verdict in check.watches(trace).broken}
        if mutant.promise in broken:
            assert check.invariants(trace).ok, "Raft has done nothing wrong"
            return
    pytest.fail(f"no run convicts {name}")
