"""Hands on the store: every form does what its line of Python does, and refuses in words.

The fake front end (`front_end.py`) sends what the forms of the bench send: text, as it was typed.
"""

import json

import comm
import pytest

from kvlearn import Cluster
from kvlearn.events import Applied, Invoked
from kvlearn.kv.leases import LeaseKeepAlive
from kvlearn.kv.requests import Put
from kvlearn.viz import panels
from kvlearn.viz.hands import Hands, verb_line
from tests.viz.front_end import Browser, FakeComm

UPDATE_BYTES = 4096
ONE_ROW = {"target": "version", "key": "a", "sign": "=", "operand": "1"}
TXN = {
    "compare": [ONE_ROW],
    "then": [{"op": "put", "key": "a", "value": "2"}, {"op": "delete", "key": "b"}],
    "else": [{"op": "get", "key": "a", "value": ""}],
}
EMPTY = {"compare": [], "then": [], "else": []}


@pytest.fixture(autouse=True)
def wire(monkeypatch):
    monkeypatch.setattr(comm, "create_comm", lambda *a, **k: FakeComm(*a, **k))
    monkeypatch.setattr(panels, "CHUNK_S", 60.0)


def made() -> Cluster:
    """A cluster with something to work on; twice the same."""
    cluster = Cluster(3, seed=7)
    cluster.wait_for_leader()
    client = cluster.client()
    client.put("a", "1")
    client.put("b", "1")
    client.put("job/1", "x")
    client.put("b", "2")
    client.lease(60, id=0x1F)
    cluster.run(0.3)
    return cluster


class Bench:
    """A panel, its browser, and what became of what was done."""

    def __init__(self):
        self.cluster = made()
        self.start = self.cluster.now
        self.panel = self.cluster.show()
        self.browser = Browser(self.panel)
        self.told: list[list] = []
        self.refused: list[dict] = []
        self.previews: list[dict] = []
        self._heard = self.browser.take
        self.browser.take = self._take

    def _take(self, told):
        self._heard(told)
        self.told += told.get("lines", [])
        self.refused += [told["refused"]] if "refused" in told else []
        self.previews += [told["preview"]] if "preview" in told else []

    def do(self, op, at=None, node="", **more):
        """Do it, and let time pass until the answer is there; the answer in words."""
        self.browser.command(op, at=at, node=node, **more)
        if self.refused or self.browser.errors:
            return None
        return self.answer()

    def answer(self):
        for _ in range(2000):
            asked = self.browser.state.get("client.panel")
            if asked is None or asked[3] is not None:
                return asked and asked[3]
            self.browser.command("step")
        raise AssertionError("no answer")

    @property
    def lines(self):
        return [line for *_, line in self.told]


@pytest.fixture
def bench():
    return Bench()


def applied(cluster, since: float):
    """The requests that were carried out, in their order."""
    entries = {}
    for record in cluster.trace:
        if isinstance(record.event, Applied) and record.time >= since:
            entries[record.event.index] = str(record.event.command)
    return [entries[index] for index in sorted(entries)]


def asked(cluster, since: float):
    """What was asked of whom; not who has kept a lease alive."""
    return [
        (record.event.node, str(record.event.request))
        for record in cluster.trace
        if isinstance(record.event, Invoked) and record.time >= since
    ]


# Each operation -------------------------------------------------------------------------------

CASES = [  # what a form sends, what its answer says, its line of Python
    ("put", {"key": "a", "value": "7"}, "ok", 'client.put("a", "7")'),
    ("put", {"key": 'q"', "value": "ü\n", "lease": "31"}, "ok", None),
    ("get", {"key": "b"}, "b=2", 'client.get("b")'),
    ("get", {"key": "b", "revision": "3"}, "b=1", 'client.get("b", revision=3)'),
    ("get", {"key": "", "span": "prefix"}, "a=1 b=2 job/1=x", 'client.get("", prefix=True)'),
    ("get", {"key": "b", "span": "from_key"}, "b=2 job/1=x", 'client.get("b", from_key=True)'),
    ("get", {"key": "a", "span": "range", "range_end": "b"}, "a=1", 'client.get("a", "b")'),
    ("delete", {"key": "job/", "span": "prefix"}, "1", 'client.delete("job/", prefix=True)'),
    ("txn", TXN, "then: ok", None),
    ("txn", {**TXN, "compare": [{**ONE_ROW, "sign": "≠"}]}, "else: a=1", None),
    ("txn", {**TXN, "compare": [{**ONE_ROW, "target": "value"}]}, "then", None),
    ("txn", {**TXN, "compare": [{**ONE_ROW, "target": "lease", "operand": "1f"}]}, "else", None),
    ("txn", {**TXN, "compare": [{**ONE_ROW, "target": "create", "sign": ">"}]}, "then", None),
    ("txn", EMPTY, "then: nothing", "client.txn().commit()"),
    ("lease_grant", {"ttl": "10", "own_id": ""}, "of 10 s", "lease = client.lease(10)"),
    (
        "lease_grant",
        {"ttl": "5", "own_id": "2b"},
        "lease 2b of 5",
        "lease = client.lease(5, id=0x2b)",
    ),
    ("lease_attach", {"lease": "31", "keys": "a"}, "ok", None),
    ("lease_attach", {"lease": "31", "keys": "a, b"}, "ok; ok", None),
    ("lease_keep_alive_once", {"lease": "31"}, "lease 1f", None),
    ("lease_revoke", {"lease": "31", "ttl": 60}, "lease 1f", "Lease(client, 0x1f, 60).revoke()"),
    ("compact", {"revision": "4"}, "ok", "client.compact(4)"),
    ("member_add", {"name": "n4", "learner": True}, "n4", None),
    ("member_new", {"name": "n4"}, "n4", 'client.add_member("n4")'),
    ("member_remove", {"name": "n1"}, "n2, n3", 'client.remove_member("n1")'),
    ("transfer", {"to": "n1"}, "", 'client.move_leader("n1")'),
]


@pytest.mark.parametrize("op, typed, answer, line", CASES)
def test_a_form_does_what_its_line_of_python_does(bench, op, typed, answer, line):
    told = bench.do(op, **typed)
    assert not bench.refused and not bench.browser.errors
    assert answer in told and bench.browser.state["client.panel"][4]
    if line:
        assert bench.lines[-1] == line
    again = made()
    exec("\n".join([*bench.told[0][2], bench.told[0][3]]), space := {"cluster": again})
    for _, _, setup, text in bench.told[1:]:
        exec("\n".join([*setup, text]), space)
    last = max(bench.cluster.now, again.now) + 0.2
    bench.cluster.run_to(last)
    again.run_to(last)
    assert asked(again, bench.start) == asked(bench.cluster, bench.start)
    assert applied(again, bench.start) == applied(bench.cluster, bench.start)
    assert (
        again.client().get("", prefix=True).kvs == bench.cluster.client().get("", prefix=True).kvs
    )
    assert again.nodes.keys() == bench.cluster.nodes.keys()


def test_the_node_that_is_chosen_is_the_one_that_the_line_asks(bench):
    follower = next(name for name in bench.cluster.nodes if name != bench.cluster.leader)
    bench.do("put", node=follower, key="a", value="1")
    assert bench.told[-1][2] == [f'client = cluster.client("{follower}")']
    assert asked(bench.cluster, bench.start)[-1][0] == follower


def test_a_learner_is_promoted_when_it_has_the_log(bench):
    bench.do("member_add", name="n4", learner=True)
    bench.browser.send("more", wall_s=1.0, speed=1)
    assert "n4" in bench.do("member_promote", name="n4")
    assert bench.lines == [
        'cluster.add_node("n4", learner=True)',
        'client.add_member("n4", learner=True)',
        'client.promote_member("n4")',
    ]
    assert "n4" in bench.cluster.nodes[bench.cluster.leader].conf.voters


def test_a_node_that_is_there_is_added_without_being_started(bench):
    bench.do("member_remove", name="n1")
    bench.do("member_add", name="n1")
    assert bench.lines[-1] == 'client.add_member("n1")' and not bench.browser.errors


# Watches and keep-alives ----------------------------------------------------------------------


def streams(cluster):
    return {name: one for name, one in cluster._clients.streams.items() if "panel" in name}


def test_a_watch_is_told_of_changes_until_it_is_cancelled(bench):
    typed = {"key": "b", "span": "prefix", "revision": "3", "no_delete": True, "prev_kv": True}
    bench.browser.command("watch", node="", **typed)
    bench.do("put", key="b", value="3")
    bench.browser.send("more", wall_s=0.3, speed=1)
    bench.browser.command("unwatch", node="", stream="panel/w1")
    bench.do("put", key="b", value="4")
    assert bench.lines[0] == (
        'watch_1 = client.watch("b", prefix=True, start_revision=3, filters=["delete"], '
        "prev_kv=True)"
    )
    assert bench.lines[2] == "watch_1.cancel()"
    (stream,) = streams(bench.cluster).values()
    values = [event.kv.text for one in stream.responses for event in one.events]
    assert values == ["1", "2", "3"] and stream.closed
    state = bench.browser.state
    watcher = next(state[key] for key in state if key[:2] == "w." and key.count(".") == 1)
    assert watcher[0] == "panel/w1" and watcher[6] == "its client is gone"


def test_a_watch_at_any_node_goes_on_elsewhere_and_one_of_a_node_stays(bench):
    bench.browser.command("watch", node="", key="a")
    bench.browser.command("watch", node="n1", key="a")
    bench.browser.command("crash", node="n1")
    bench.browser.send("more", wall_s=1.0, speed=1)
    first, second = streams(bench.cluster).values()
    assert first.node != "n1" and second.node == "n1"
    assert [setup for _, _, setup, _ in bench.told[:2]] == [
        ["client = cluster.client()"],
        ['client = cluster.client("n1")'],
    ]


def test_a_lease_is_kept_alive_until_that_is_stopped(bench):
    cluster = bench.cluster
    bench.do("lease_grant", ttl="2", own_id="9")
    bench.browser.command("lease_keep", node="", lease="9", ttl="2")
    assert bench.browser.last_flags["kept"] == [9]
    bench.browser.send("more", wall_s=6.0, speed=1)
    assert cluster.client().leases().ids.count(9) == 1
    bench.browser.command("lease_unkeep", node="", lease="9")
    assert bench.browser.last_flags["kept"] == []
    bench.browser.send("more", wall_s=6.0, speed=1)
    assert 9 not in cluster.client().leases().ids
    assert bench.lines[1:] == [
        "kept_9 = Lease(client, 0x9, 2).keep_alive()",
        "kept_9.stop_keep_alive()",
    ]


def test_what_is_not_kept_alive_cannot_be_stopped_and_has_no_line(bench):
    bench.browser.command("lease_unkeep", node="", lease="31")
    assert "lease 1f is not kept alive by this panel" in bench.browser.errors[-1]
    assert bench.lines == []


def test_what_keeps_a_lease_alive_is_not_taken_for_the_answer_to_a_form(bench):
    bench.browser.command("lease_keep", node="", lease="31", ttl="60")
    bench.browser.send("more", wall_s=1.0, speed=1)
    kept = [one for one in bench.cluster.trace if isinstance(one.event, Invoked)]
    assert isinstance(kept[-1].event.request, LeaseKeepAlive) and kept[-1].node == "panel-keep"
    assert "client.panel" not in bench.browser.state


def test_revoking_a_lease_that_is_kept_stops_that_first(bench):
    bench.browser.command("lease_keep", node="", lease="31", ttl="60")
    bench.do("lease_revoke", lease="31", ttl="60")
    assert bench.lines[-2:] == ["kept_1f.stop_keep_alive()", "Lease(client, 0x1f, 60).revoke()"]
    assert bench.panel.hands.kept() == []


# Refusals -------------------------------------------------------------------------------------

BAD = [
    ("put", {"key": "", "value": "1"}, "key", "a key is needed"),
    ("put", {"key": "a", "value": "1", "span": "prefix"}, "span", "put writes one key"),
    ("put", {"key": "a", "value": "x" * 3000}, "value", "too long"),
    ("put", {"key": "a", "value": '"' * 1500}, "value", "too long"),
    ("get", {"key": "a", "revision": "two"}, "revision", "whole number from 0 on, not 'two'"),
    ("get", {"key": "a", "revision": "-1"}, "revision", "not '-1'"),
    ("get", {"key": "b", "span": "range", "range_end": "a"}, "range_end", "comes after"),
    ("get", {"key": "a", "span": "range", "range_end": ""}, "range_end", "a key is needed"),
    ("txn", {**TXN, "compare": [{**ONE_ROW, "operand": "x"}]}, "compare.0.operand", "version is"),
    ("txn", {**TXN, "compare": [{**ONE_ROW, "key": ""}]}, "compare.0.key", "needs a key"),
    ("txn", {**EMPTY, "then": [{"op": "put", "key": ""}]}, "then.0.key", "needs a key"),
    ("txn", {**EMPTY, "then": [{"op": "put", "key": "a"}] * 2}, "then.0.key", "duplicate key"),
    ("watch", {"key": "a", "revision": "x"}, "revision", "not 'x'"),
    ("unwatch", {"stream": "c1/w1"}, "stream", "no watch of this panel"),
    ("lease_grant", {"ttl": "0", "own_id": ""}, "ttl", "from 1 on"),
    ("lease_grant", {"ttl": "", "own_id": ""}, "ttl", "from 1 on"),
    ("lease_grant", {"ttl": "9", "own_id": "xyz"}, "own_id", "hexadecimal"),
    ("lease_attach", {"lease": "", "keys": "a"}, "lease", "which lease?"),
    ("lease_attach", {"lease": "31", "keys": " "}, "keys", "which keys?"),
    ("lease_attach", {"lease": "31", "keys": "a a"}, "keys", "once"),
    ("lease_attach", {"lease": "31", "keys": "a new"}, "keys", "no key new at the cursor: put it"),
    ("compact", {"revision": ""}, "revision", "from 1 on"),
    ("member_add", {"name": "bob"}, "name", "like n6, not 'bob'"),
    ("member_add", {"name": "n" + "9" * 400}, "name", "is called n and a number"),
    ("member_add", {"name": "n06"}, "name", "like n6, not 'n06'"),
    ("put", {"key": "a\ud800", "value": "1"}, "key", "half a character"),
    ("put", {"key": "a", "value": "\udfff"}, "value", "half a character"),
    ("member_remove", {"name": "\ud800"}, "name", "half a character"),
    ("txn", {**EMPTY, "then": [{"op": "put", "key": "\ud800"}]}, "then.0.key", "half a character"),
    ("put", {"key": "a", "value": "1", "node": "n9"}, "via", "no node 'n9'"),
]


@pytest.mark.parametrize("op, typed, field, why", BAD)
def test_what_makes_no_sense_is_refused_in_words_and_nothing_happens(bench, op, typed, field, why):
    length, now = len(bench.cluster.trace), bench.cluster.now
    bench.browser.command(op, at=length - 20, **{"node": "", **typed})
    assert [one["field"] for one in bench.refused] == [field] and why in bench.refused[0]["why"]
    assert (len(bench.cluster.trace), bench.cluster.now) == (length, now), "not even a rewind"
    assert not bench.told and not bench.browser.errors and not bench.panel.errors


def test_what_the_store_refuses_is_an_answer_and_has_its_line(bench):
    assert "future revision" in bench.do("compact", revision="99")
    assert not bench.browser.state["client.panel"][4]
    assert bench.lines == ["client.compact(99)"]


# Which branch now? ----------------------------------------------------------------------------

ROWS = [
    ([ONE_ROW], "now: then, because it holds"),
    ([{**ONE_ROW, "key": "b"}], 'now: else, because version("b") is 2'),
    ([ONE_ROW, {**ONE_ROW, "target": "value"}], "now: then, because all comparisons hold"),
    ([{**ONE_ROW, "key": "zz", "target": "value"}], 'else, because value("zz") is no such key'),
    ([], "now: then, because nothing is compared"),
    ([{**ONE_ROW, "key": ""}], "not whole yet: each row needs a key"),
    ([{**ONE_ROW, "operand": "x"}], "not whole yet: version is a whole number"),
]


def foresee(bench, compare, at=None, **more):
    typed = {**TXN, "compare": compare, "number": 5, "who": "me", **more}
    bench.browser.command("preview", at=at, **typed)
    return bench.previews[-1]


@pytest.mark.parametrize("compare, now", ROWS)
def test_the_branch_that_would_be_taken_is_told_with_its_reason(bench, compare, now):
    length = len(bench.cluster.trace)
    told = foresee(bench, compare)
    assert now in told["now"] and (told["number"], told["who"]) == (5, "me")
    assert (told["fork"] is None) == now.startswith("not whole")
    assert len(bench.cluster.trace) == length and not bench.told and not bench.refused
    if told["fork"]:
        assert told["fork"][0] == ("now: then" in now)
        assert bench.do("txn", **{**TXN, "compare": compare}).startswith(told["now"][5:9])


def test_a_branch_that_cannot_be_foreseen_is_said_in_words(bench):
    rows = [{"op": "put", "key": "\ud800", "value": ""}]
    bench.browser.command("preview", number=5, who=bench.browser.who, **{**EMPTY, "then": rows})
    assert "half a character" in bench.previews[-1]["now"] and not bench.browser.errors


def test_the_branch_is_that_of_the_cursor(bench):
    first = next(r.seq for r in bench.cluster.trace if isinstance(r.event, Applied) and r.seq > 5)
    assert "is 0 (no such key)" in foresee(bench, [ONE_ROW], at=first - 1)["now"]
    assert "it holds" in foresee(bench, [ONE_ROW])["now"]
    assert "is 0 (no such key)" in foresee(bench, [ONE_ROW], at=first - 1)["now"]


def test_that_a_transaction_would_be_refused_is_foreseen(bench):
    put = {"op": "put", "key": "a", "value": ""}
    told = foresee(bench, [], then=[put, put])
    assert told["now"] == "it would be refused: duplicate key given in txn request (a)"
    assert told["fork"] is None


# Python ---------------------------------------------------------------------------------------


def test_what_is_done_to_nodes_and_to_the_network_has_its_line(bench):
    cluster, command = bench.cluster, bench.browser.command
    follower = next(name for name in cluster.nodes if name != cluster.leader)
    other = next(name for name in cluster.nodes if name not in (cluster.leader, follower))
    command("put", key="a", value="1", node="")
    numbers = [packet.number for packet in cluster.in_flight]
    assert len(numbers) >= 2
    messages = {packet.number: packet.message for packet in cluster.in_flight}

    def sent(number):
        message = messages[number]
        return f"  # {message} {message.source}→{message.target}"

    command("drop", packet=numbers[0])
    command("delay", packet=numbers[1], by_us=4000)
    command("duplicate", packet=numbers[1])
    for verb in ("pause", "resume", "crash", "restart", "compact", "isolate"):
        command(verb, node=follower)
    command("heal")
    command("partition", side=[follower])
    command("campaign", node=other)
    assert not bench.browser.errors
    bench.browser.send("more", wall_s=0.5, speed=1)
    assert bench.lines[1:4] == [
        f"cluster.drop({numbers[0]}){sent(numbers[0])}",
        f"cluster.delay({numbers[1]}, 0.004){sent(numbers[1])}",
        f"cluster.duplicate({numbers[1]}){sent(numbers[1])}",
    ]
    assert bench.lines[-2].startswith(f'cluster.partition(["{follower}"], [')
    again = made()
    for _, time, setup, text in bench.told:
        if text.startswith("client."):
            again.run_to(time)
            again.submit(*_asked_first(cluster, bench.start), "panel")
            continue
        exec("\n".join([f"cluster.run_to({time!r})", *setup, text]), {"cluster": again})
    again.run_to(cluster.now)
    assert list(again.trace) == list(cluster.trace), "byte for byte"


def _asked_first(cluster, since):
    event = next(r.event for r in cluster.trace if isinstance(r.event, Invoked) and r.time >= since)
    return event.request, event.node


def test_all_lines_together_are_a_program_that_does_it_again(bench):
    bench.do("put", key="a", value="5")
    bench.browser.command("watch", node="", key="a", revision="2")
    bench.do("txn", **TXN)
    bench.browser.command("lease_keep", node="", lease="31", ttl="60")
    bench.do("lease_attach", lease="31", keys="a b")
    follower = next(name for name in bench.cluster.nodes if name != bench.cluster.leader)
    bench.browser.command("crash", node=follower)
    bench.do("delete", key="b")
    again = made()
    exec(bench.panel.hands.script(), {"cluster": again})
    assert applied(again, bench.start) == applied(bench.cluster, bench.start)
    (mine,), (theirs,) = again._clients.streams.values(), streams(bench.cluster).values()
    assert mine.follow.request == theirs.follow.request
    assert again.nodes[follower].role == "down"


def test_going_back_is_a_line_too_and_the_program_still_does_the_same(bench):
    bench.do("put", key="a", value="5")
    bench.browser.send("more", wall_s=0.2, speed=1)
    before = next(row[0] for row in bench.browser.rows if row[1] / 1e6 >= bench.start) - 1
    bench.do("put", at=before, key="a", value="6")
    assert bench.lines[1].startswith("cluster.rewind(") and "went back" in bench.browser.notices[-1]
    again = made()
    exec(bench.panel.hands.script(), {"cluster": again})
    bench.cluster.run_to(again.now)
    again.run_to(bench.cluster.now)
    assert applied(again, 0) == applied(bench.cluster, 0)
    assert applied(again, 0)[-1] == "put a=6"


def test_what_somebody_else_has_undone_is_out_of_the_log(bench):
    bench.do("put", key="a", value="5")
    bench.cluster.rewind(bench.start)
    bench.do("put", key="a", value="6")
    bench.do("put", key="a", value="7")
    lines = [line.line for line in bench.panel.hands.lines]
    assert lines == ['client.put("a", "6")', 'client.put("a", "7")']


def test_a_page_that_opens_later_is_told_the_last_lines(bench):
    for value in "123":
        bench.do("put", key="a", value=value)
    lines: list = []
    late = Browser.__new__(Browser)
    take = Browser.take
    late.take = lambda told: (lines.extend(told.get("lines", [])), take(late, told))
    late.__init__(bench.panel)
    assert [line for *_, line in lines] == [f'client.put("a", "{value}")' for value in "123"]


def test_verbs_that_are_not_of_the_cluster_have_no_line(bench):
    assert verb_line({"op": "share"}, bench.cluster) == ""
    assert verb_line({"op": "heal"}, bench.cluster) == "cluster.heal()"


# Time that went back --------------------------------------------------------------------------


def test_what_was_asked_in_a_future_that_was_rewound_is_forgotten(bench):
    cluster, browser = bench.cluster, bench.browser
    before = browser.last_seq
    browser.command("watch", node="", key="a")
    browser.command("lease_keep", node="", lease="31", ttl="60")
    browser.command("put", node="", key="a", value="9")
    browser.command("crash", at=before, node="n1")
    assert streams(cluster) == {} and bench.panel.hands.kept() == []
    assert browser.last_flags["kept"] == [] or browser.last_flags.get("kept") is None
    for _ in range(40):
        browser.send("more", wall_s=0.25, speed=1)
    assert not browser.errors and not bench.panel.errors
    browser.command("watch", node="", key="a")
    assert bench.lines[-1].startswith("watch_2 = "), "no name is given out twice"
    browser.command("unwatch", node="", stream="panel/w1")
    assert "not been opened" in browser.errors[-1]


def test_a_request_of_another_client_with_the_number_of_one_that_was_undone_is_left_alone(bench):
    cluster, browser = bench.cluster, bench.browser
    before = browser.last_seq
    browser.command("put", node="", key="a", value="9")
    op_id = bench.panel.hands._asked[0]
    browser.command("pause", at=before, node="n1")
    assert cluster.submit(Put(b"x", b"1"), "n1", "c9") == op_id
    for _ in range(40):
        browser.send("more", wall_s=0.25, speed=1)
    assert not cluster.operation(op_id).done and not browser.errors


def test_a_compaction_of_the_store_is_not_one_of_a_nodes_log(bench):
    hands: Hands = bench.panel.hands
    assert hands.knows({"op": "compact", "revision": 3})
    assert not hands.knows({"op": "compact", "node": "n1"})
    assert not hands.knows({"op": "crash", "node": "n1"})


# Other runs -----------------------------------------------------------------------------------


def same_run(bench):
    """The program of the present run makes the same trace."""
    again = made()
    exec(bench.panel.hands.script(), space := {"cluster": again})
    assert list(space["cluster"].trace) == list(bench.cluster.trace), bench.panel.hands.script()


def wild(bench):
    """Refusals, packets, a request that is asked while another travels."""
    browser = bench.browser
    bench.do("get", key="a", revision="99")
    bench.do("put", key="a", value="5")
    browser.command("put", node="", key="b", value="6")
    numbers = [packet.number for packet in bench.cluster.in_flight]
    browser.command("drop", packet=numbers[0])
    browser.command("delay", packet=numbers[1], by_us=400_000)
    browser.send("more", wall_s=0.2, speed=1)
    bench.do("compact", revision="99")


def test_the_program_is_the_present_run_byte_for_byte_after_any_travel(bench):
    browser, hands = bench.browser, bench.panel.hands
    wild(bench)
    same_run(bench)
    first = [line.line for line in hands.lines]
    middle = next(r.seq for r in bench.cluster.trace if r.time > hands.lines[3].time)
    bench.browser.command("crash", at=middle, node="n1")
    browser.command("watch", node="", key="a")
    browser.send("more", wall_s=6.0, speed=1)
    same_run(bench)
    second = [line.line for line in hands.lines]
    assert first[:3] == second[:3] and 'cluster.crash("n1")' in second
    for _ in range(2):
        for lines in (first, second):
            browser.command("open_future", name=browser.futures[-1]["name"])
            assert [line.line for line in hands.lines] == lines
            same_run(bench)
    browser.command("lease_grant", at=40, node="", ttl="5", own_id="")  # before it was opened
    bench.browser.send("more", wall_s=1.0, speed=1)
    assert hands.lines[0].line.startswith("cluster.rewind(")
    same_run(bench)


def test_what_the_page_was_told_is_the_log(bench):
    log: dict = {}
    needs: list[str] = []

    def take(told, heard=bench.browser.take):
        if "log" in told:
            needs.append(told["log"])
            log.clear()
        log.update((line[0], line[3]) for line in told.get("lines", []))
        heard(told)

    bench.browser.take = take
    wild(bench)
    assert needs == ["from kvlearn.viz.hand_log import Asker"], "what the page's program needs"
    assert list(log.values()) == [line.line for line in bench.panel.hands.lines] and len(log) == 6
    bench.browser.command("crash", at=bench.browser.last_seq - 40, node="n1")
    browser = bench.browser
    browser.command("open_future", name="future 1")
    assert list(log.values()) == [line.line for line in bench.panel.hands.lines] and len(log) == 6
    browser.command("open_code", code=Cluster(5, seed=3).code())
    assert [line[:33] for line in log.values()] == ['cluster = Cluster.from_code("kv1-']
    browser.command("crash", node="n5")
    assert len(log) == 2
    same_run(bench)


def test_a_run_that_came_from_elsewhere_begins_with_its_code(bench):
    other = Cluster(5, seed=3)
    other.wait_for_leader()
    other.crash("n4")
    other.run_to(4.0)
    bench.do("put", key="a", value="5")
    bench.browser.command("open_code", code=other.code())
    bench.do("put", key="a", value="7")
    first, second = bench.panel.hands.lines
    assert first.line.startswith('cluster = Cluster.from_code("kv1-')
    assert second.line == 'client.put("a", "7")'
    same_run(bench)
    bench.browser.command("open_future", name="future 1")
    assert [line.line for line in bench.panel.hands.lines] == ['client.put("a", "5")']
    same_run(bench)


def test_what_a_cell_does_is_said_in_the_log(bench):
    bench.do("put", key="a", value="5")
    bench.cluster.crash("n1")
    bench.cluster.run(1)
    bench.panel.refresh()
    bench.browser.listen()
    bench.do("put", key="a", value="6")
    assert [line.line for line in bench.panel.hands.lines][1] == (
        "# not done by these lines: crash n1"
    )


def test_a_request_without_an_answer_is_given_up_by_the_program_too(bench):
    for name in bench.cluster.nodes:
        bench.browser.command("isolate", node=name)
    bench.browser.command("put", node="", key="a", value="1")
    for _ in range(40):
        bench.browser.send("more", wall_s=0.25, speed=1)
    assert "# no answer in 5 s" in bench.panel.hands.lines[-1].line
    same_run(bench)


# What it costs --------------------------------------------------------------------------------


def test_updates_stay_small_whatever_is_typed(bench):
    row = {"op": "put", "key": "ключ" * 3, "value": "значение" * 9}
    rows = [{**row, "key": f"{row['key']}{k}"} for k in range(9)]
    compares = [{**ONE_ROW, "key": "ü" * 90, "target": "value", "operand": "ö" * 60}] * 9
    foresee(bench, compares, then=rows)
    for k in range(12):
        bench.browser.command("put", node="", key="a" * 60, value=f"{k % 10}" * 1400)
        bench.browser.command("preview", **{**TXN, "compare": [], "number": k, "who": "me"})
    Browser(bench.panel)
    sizes = [size for data, _, size in bench.panel.comm.log if data.get("method") == "custom"]
    assert max(sizes) < UPDATE_BYTES
    assert len(bench.lines) >= 12 and not bench.browser.errors
    assert json.dumps(bench.previews[-1])
