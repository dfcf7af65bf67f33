"""The words of a picture state the facts of the run: read back from the text, they are the nodes'.

While a random run goes on, what its nodes hold is written down at some moments. Afterwards each
picture is drawn of the trace alone with its cursor at those moments, and what its text says is
held against what was written down, or against a list that carries the log out (`check.naive`).
"""

from __future__ import annotations

import re

from kvlearn import check, viz
from kvlearn import events as ev
from kvlearn.events import (
    Appended,
    Applied,
    BecameLeader,
    Committed,
    Crashed,
    Dropped,
    Invoked,
    LeaseRenewed,
    LinksChanged,
    Received,
    Returned,
    Saved,
    Sent,
    Started,
)
from kvlearn.kv.leases import LeaseGrant, LeaseRevoke
from kvlearn.raft.confchange import ConfChange
from kvlearn.raft.quorum import majority
from kvlearn.trace import Trace
from tests.viz.twin_runs import (
    SEEDS,
    Truth,
    config_of,
    lively,
    moments,
    tells_time,
    until,
    watchers,
)

LAMPS = ("kept", "broken", "nothing to judge")


# Nodes, logs, members -----------------------------------------------------------------------


def test_the_ring_s_words_are_what_the_nodes_say():
    kinds = set()
    for replay, cluster, seen in moments():
        text = viz.ring(cluster.trace, seq=seen.seq).text
        lines = text.splitlines()
        assert (f"{seen.leader} leads" if seen.leader else "no leader") in lines[0], replay
        assert tells_time(text, cluster.trace, seen.seq), replay
        told_last = [line for line in lines if line.startswith("last: ")]
        assert told_last == [f"last: {sentence_of(cluster.trace[seen.seq])}"], replay
        told = {line.split(": ")[0]: line for line in lines if re.match(r"n\d+: ", line)}
        assert set(told) == set(seen.nodes), replay
        for name, facts in seen.nodes.items():
            line = told[name]
            role = re.match(r"n\d+: (\w+)(, paused)?, term (\d+)", line)
            is_role = "paused" if role[2] else role[1]
            assert (is_role, int(role[3])) == (facts["role"], facts["term"]), (replay, line)
            base = re.search(r"; log compacted up to (\S+);", line)
            assert (base[1] if base else "0@0") == str(facts["base"]), (replay, line)
            numbers = (
                r"log up to (\d+), on disk \d+, committed (\d+), applied (\d+), revision (\d+)"
            )
            last, commit, applied, revision = map(int, re.search(numbers, line).groups())
            ends = facts["log"][-1].index if facts["log"] else facts["base"].index
            assert (last, commit) == (ends, facts["commit"]), (replay, line)
            if facts["alive"]:
                assert (applied, revision) == (facts["applied"], facts["revision"]), (replay, line)
            disk = re.search(r"on disk (\d+)", line)
            assert facts["disk"] in (None, int(disk[1])), (replay, line)
            left = re.search(r"; election timer: ([\d.]+) of ([\d.]+) s left", line)
            runs = facts["timer"] is not None and is_role in ("follower", "candidate")
            assert (left is not None) >= runs, (replay, line)
            if runs and steady(cluster.trace, seen.seq):
                tick_s = config_of(cluster)["tick_s"]
                assert abs(float(left[1]) - max(0, facts["timer"])) <= 1.01 * tick_s, (replay, line)
                kinds.add("timer")
            kinds.add(is_role)
        cut = next((line[5:].split() for line in lines if line.startswith("cut: ")), [])
        assert {tuple(link.split("→")) for link in cut} == seen.cuts, replay
        paused = {name for name, facts in seen.nodes.items() if facts["role"] == "paused"}
        if seen.conf is not None:
            check_sets(text, seen, replay)
        sent = on_the_way(cluster.trace, seen.seq)
        due = [f"{sent[number]:.4f} s" for number in sent]
        assert re.findall(r"^on its way: .*, due at ([\d.]+ s)", text, re.M) == due, replay
        flying = re.findall(r"^on its way: (\w+)→(\w+) ", text, re.M)
        assert sorted(f for f in flying if f[1] not in paused) == seen.flying, replay
    assert {"leader", "follower", "down", "learner", "timer"} <= kinds, kinds


def steady(trace, seq):
    """Whether all clocks went as the trace's does: a timer runs on the own clock of its node."""
    return not any(r.event.setting == "clock rate" for r in until(trace, seq, LinksChanged))


def sentence_of(record):
    """A record as the ring's last line tells it."""
    event = record.event
    if isinstance(event, Sent):
        told = f"{record.node} sends {event.message} to {event.message.target}"
        why = "the network lost it" if event.fate == "LOST" else ""
        if event.fate == "CUT":
            why = f"the link from {event.message.source} to {event.message.target} is cut"
        return told + (f" in vain: {why or event.fate}" if event.fate else "")
    if isinstance(event, Received):
        return f"{record.node} receives {event.message} from {event.message.source}"
    if isinstance(event, Dropped):
        return f"{event.message.source}→{event.message.target}: {event}"
    return str(record)


def on_the_way(trace, seq):
    """Packet -> when it is due, of all that left and have not come to an end."""
    flying = {}
    for record in until(trace, seq, Sent, Received, Dropped):
        if isinstance(record.event, Sent):
            flying[record.event.packet] = record.event.arrives_s
        else:
            flying.pop(record.event.packet, None)
    return {number: due for number, due in flying.items() if due is not None}


def check_sets(text, seen, replay):
    """The line of the members, where not simply everybody has a vote."""
    line = re.search(r"^members: (.*)$", text, re.M)
    if seen.conf.outgoing:
        assert " ".join(seen.conf.voters) in line[1] and " ".join(seen.conf.outgoing) in line[1]
        return
    outside = [name for name in sorted(seen.nodes) if name not in seen.conf.members]
    parts = (("voters", seen.conf.voters), ("learners", seen.conf.learners), ("outside", outside))
    told = "; ".join(f"{name}: {' '.join(those)}" for name, those in parts if those)
    assert (line[1] if line else f"voters: {' '.join(sorted(seen.nodes))}") == told, replay


def test_the_logs_words_are_what_the_nodes_hold():
    compacted = 0
    for replay, cluster, seen in moments():
        text = viz.logs(cluster.trace, seq=seen.seq).text
        assert tells_time(text, cluster.trace, seen.seq), replay
        lines = {line.split()[0]: line for line in text.splitlines() if re.match(r"n\d+ ", line)}
        for name, facts in seen.nodes.items():
            head, _, body = lines[name].partition(": ")
            told = re.fullmatch(
                r"n\d+ (\w+) term (\d+) commit (\d+) applied (\d+)(?: on disk (\d+))?", head
            )
            assert told, (replay, head)
            assert told[1] == facts["role"], (replay, head)
            assert (int(told[2]), int(told[3])) == (facts["term"], facts["commit"]), (replay, head)
            entries = re.findall(r"(\d+@\d+) ", body.replace("(snapshot", "").replace(")", ""))
            shown = [str(entry.id) for entry in facts["log"][-12:]]
            assert [one for one in entries if one in shown] == shown, (replay, lines[name])
            hidden = re.search(r"… (\d+) earlier", body)
            assert int(hidden[1] if hidden else 0) == max(0, len(facts["log"]) - 12), replay
            base = re.search(r"\(snapshot ≤ (\S+)\)", body)
            assert (base[1] if base else "0@0") == str(facts["base"]), (replay, body)
            compacted += base is not None
            for entry in facts["log"][-12:]:
                data = "no-op" if entry.data is None else str(entry.data)
                assert f"{entry.id} {data}" in body, (replay, body)
        known = re.findall(r"^  (\w+): match (\d+), next (\d+) \((\w+)\)$", text, re.M)
        if seen.leader and sum(f["role"] == "leader" for f in seen.nodes.values()) == 1:
            told = {peer: (int(match), int(after), state) for peer, match, after, state in known}
            assert told == seen.progress, replay
    assert compacted


def test_the_logs_words_tell_what_is_not_on_the_disk_yet():
    trace, unsaved = lively(SEEDS[0])[0].trace, 0
    saved: dict[str, int] = {}
    for record in until(trace, 2000, Appended, Saved):
        name, event = record.node, record.event
        if isinstance(event, Saved):
            saved[name] = event.last or saved.get(name, 0)
            continue
        text = viz.logs(trace, seq=record.seq).text
        line = next(line for line in text.splitlines() if line.startswith(f"{name} "))
        if "(snapshot" not in line:  # which is saved another way
            assert f" on disk {saved.get(name, 0)}: " in line, (record.seq, line)
            unsaved += 1
    assert unsaved > 20


def test_a_chosen_stretch_of_the_logs_is_what_their_words_tell():
    cluster, seen = lively(SEEDS[0])
    log = seen[-1].nodes["n1"]["log"]
    first, last = log[0].index, log[-1].index - 1
    text = viz.logs(cluster.trace, seq=seen[-1].seq, first=first, last=last).text
    line = next(line for line in text.splitlines() if line.startswith("n1 "))
    assert f"{log[-2].id} " in line and f"{log[-1].id} " not in line and "… 1 later" in line


def test_the_members_words_are_what_the_leader_counts_by():
    seats = set()
    for replay, cluster, seen in moments():
        if seen.conf is None:
            continue
        text = viz.members(cluster.trace, seq=seen.seq).text
        lines = text.splitlines()
        assert lines[0].startswith(f"{len(seen.conf.members)} member"), replay
        end = f" s, as {seen.leader} counts in term {seen.nodes[seen.leader]['term']}: {seen.conf}"
        assert lines[0].endswith(end) and tells_time(text, cluster.trace, seen.seq), replay
        sets = [seen.conf.voters] + [seen.conf.outgoing] * bool(seen.conf.outgoing)
        decide = " and ".join(f"{majority(len(one))} of {' '.join(one)}" for one in sets)
        assert lines[1].removeprefix("joint: ") == f"{decide} decide", replay
        rows = re.findall(r"^  (n\d+): (\w+), ([\w ,]+), term (\d+)(.*)$", text, re.M)
        assert {row[0] for row in rows} == {*seen.nodes, *seen.conf.members}, replay
        for name, role, seat, term, rest in rows:
            facts = seen.nodes[name]
            assert (role, int(term)) == (facts["role"], facts["term"]), (replay, name)
            votes = seat.startswith("voter")
            assert votes == seen.conf.votes(name), (replay, name, seat)
            assert (seat == "learner") == (name in seen.conf.learners), (replay, name, seat)
            seats.add(seat)
            if name in seen.progress:
                match, after, state = seen.progress[name]
                behind = seen.last - match
                told = f"; match {match} ({state}), next {after}, {behind} behind"
                assert rest.split("; may")[0] == told, replay
            elif name == seen.leader:
                told = f"; match {seen.disk}, {seen.last - seen.disk} behind"
                assert rest == told, (replay, rest)
        told = {int(i): what for i, what in re.findall(r"^  (\d+)@\d+: (.+)$", text, re.M)}
        log = [
            (record.event.index, bool(record.event.error))
            for record in until(cluster.trace, seen.seq, Applied)
            if isinstance(record.event.command, ConfChange)
        ]
        assert {index for index, _ in log} <= set(told), replay
        for index, refused in log:
            assert ("; refused: " in told[index]) == refused, (replay, told[index])
            assert "not applied yet" not in told[index], (replay, told[index])
    assert {"voter", "learner", "outside"} <= seats


def test_the_states_words_count_what_happened():
    for replay, cluster, seen in moments():
        text = viz.states(cluster.trace, seq=seen.seq).text
        now = dict(re.findall(r"^([\w-]+): ([n\d ]+)$", text, re.M))
        told = {name: role for role, names in now.items() for name in names.split()}
        for name, facts in seen.nodes.items():
            role = "follower" if told[name] == "pre-candidate" else told[name]
            assert role == facts["role"], (replay, name)
        won = {}
        for record in until(cluster.trace, seen.seq, BecameLeader):
            won[record.node] = won.get(record.node, 0) + 1
        assert times_of(text, "candidate", "leader") == won, replay
        check_flow(text, told, replay)
        crashes, starts, again = {}, {}, {}
        for record in until(cluster.trace, seen.seq, Crashed, Started):
            first = isinstance(record.event, Started) and record.event.boot == 1
            count = starts if first else again
            if isinstance(record.event, Crashed):
                count = crashes
            count[record.node] = count.get(record.node, 0) + 1
        assert times_of(text, "\\S+", "down") == crashes, replay
        assert times_of(text, "start", "\\S+") == starts, replay
        assert times_of(text, "down", "\\S+") == again, replay


def check_flow(text, now, replay):
    """Whoever came into a role left it again, or is in it now; candidates may time out anew."""
    flow: dict[tuple, int] = {}
    for here, there, rest in re.findall(r"^([\w-]+) → ([\w-]+) \((.*)$", text, re.M):
        for name, times in re.findall(r"(n\d+) (\d+)×", rest.rsplit("): ", 1)[1]):
            flow[name, here] = flow.get((name, here), 0) - int(times)
            flow[name, there] = flow.get((name, there), 0) + int(times)
    for (name, role), left in flow.items():
        inside = -1 if role == "start" else int(now[name] == role)
        assert left == inside, (replay, name, role)


def times_of(text, here, there):
    """Node -> how often it took a transition, as the words tell it."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        if re.match(rf"{here} → {there} \(", line):
            for name, times in re.findall(r"(n\d+) (\d+)×", line.rsplit("): ", 1)[1]):
                found[name] = found.get(name, 0) + int(times)
    return found


def test_the_space_time_words_tell_every_message_and_call_of_the_window():
    for replay, cluster, seen in moments(SEEDS[0], SEEDS[1]):
        trace = cluster.trace
        end = trace[seen.seq].time
        start = max(0.0, end - 1.5)
        text = viz.spacetime(trace, start, end, heartbeats=True).text
        window = [r for r in trace if start <= r.time <= end]
        sent = [r for r in window if isinstance(r.event, Sent)]
        lines = text.splitlines()
        arrived = {r.event.packet: r.time for r in window if isinstance(r.event, Received)}
        lost = {r.event.packet: r.event.reason for r in window if isinstance(r.event, Dropped)}
        assert len(re.findall(r"→.*, sent ", text)) >= len(sent), replay
        for record in sent:
            message, packet = record.event.message, record.event.packet
            line = f"{record.time:.4f} s  {message.source}→{message.target} {message}, "
            line += f"sent {record.time:.4f} s, "
            if packet in arrived:
                line += f"received {arrived[packet]:.4f} s"
            elif packet in lost:
                line += f"lost: {ev.sentence(lost[packet], facts_of(message))}"
            elif record.event.fate:
                line += f"lost: {ev.sentence(record.event.fate, facts_of(message))}"
            else:
                line += "on its way"
            assert line in lines, (replay, line)
        for record in window:
            event, head = record.event, f"{record.time:.4f} s  "
            if isinstance(event, Committed):
                assert f"{head}{record.node} commit {event.index}\n" in text + "\n", replay
            elif isinstance(event, Invoked):
                assert f"{head}{record.node} asks {event.node}: {event.request}" in text, replay
            elif isinstance(event, Returned):
                answer = event.error or f"answer, rev {event.revision}"
                assert f"{head}{event.node} answers {record.node}: {answer}" in text, replay


def facts_of(message):
    return (("source", message.source), ("target", message.target))


# The store ----------------------------------------------------------------------------------


def test_the_revisions_words_are_what_the_log_did_with_its_holes():
    holes = 0
    for replay, cluster, seen in moments():
        truth = Truth(cluster.trace, seen.seq)
        text = viz.revisions(cluster.trace, seq=seen.seq).text
        if not truth.store.changes:
            continue
        head = re.match(r"The store at [\d.]+ s: revision (\d+)(?:, compacted at (\d+))?", text)
        assert int(head[1]) == truth.store.revision, replay
        assert tells_time(text, cluster.trace, seen.seq), replay
        assert int(head[2] or 0) == truth.store.compacted, replay
        told = {}
        for line in text.splitlines()[2:]:
            key, _, lives = line.partition(": ")
            for main, sub, kind, rest in re.findall(
                r"(\d+)\.(\d+) (create|modify|delete)([^,}]*)", lives
            ):
                told[int(main), int(sub)] = (key, kind, rest)
        assert set(told) == set(truth.made), replay
        for change in truth.store.changes:
            key, kind, rest = told[change.revision, change.sub]
            kv = change.kv
            is_kind = "delete" if not change.put else "create" if kv.version == 1 else "modify"
            assert (key, kind) == (kv.key_text, is_kind), (replay, change)
            assert ("(gone)" in rest) == ((change.revision, change.sub) in truth.gone), (
                f"{replay}: {change} {rest}"
            )
            if change.put:
                assert rest.startswith(f" ={kv.value.decode()}"), (replay, change, rest)
                assert (f"(lease {kv.lease:x})" in rest) == bool(kv.lease), (replay, change, rest)
        runs = re.search(r"^revisions: (.*)$", text, re.M)[1]
        for first, last, term in re.findall(r"(\d+)(?:…(\d+))? term (\d+)", runs):
            for revision in range(int(first), int(last or first) + 1):
                assert truth.made[revision, 0] == int(term), (replay, revision)
        holes += len(truth.gone)
    assert holes


def test_the_trees_words_are_the_index_and_the_records_of_the_nodes():
    for replay, cluster, seen in moments():
        truth = Truth(cluster.trace, seen.seq)
        if not truth.store.changes or seen.store is None:
            continue
        applied, revision, _, index, sweeping = seen.store
        text = viz.trees(cluster.trace, seq=seen.seq).text
        if applied == max(truth.entries) and not sweeping:
            assert f"Key index at revision {revision} " in text, replay
            for key, line in index.items():
                assert f"  {key.decode()}: {line.split(': ', 1)[-1]}" in text or line in text, (
                    replay
                )
        leaves = re.findall(r"^  leaf: (.*)$", text, re.M)
        cells = [cell for leaf in leaves if leaf != "empty" for cell in leaf.split(", ")]
        there = {cell.split()[0]: cell for cell in cells if not cell.endswith(" gone")}
        stays = {key for key in truth.made if key not in truth.gone}
        assert set(there) == {f"{main}.{sub}" for main, sub in stays}, replay
        for change in truth.store.changes:
            if (change.revision, change.sub) in stays:
                what = str(change.kv) if change.put else f"{change.kv.key_text} deleted"
                cell = there[f"{change.revision}.{change.sub}"]
                assert cell.split(" ", 1)[1] == what, (replay, cell)
        assert "leaf: " in text and "B+tree of pages of 4" in text


def test_the_fork_s_words_are_the_last_transaction_with_its_ticks():
    taken = set()
    for replay, cluster, seen in moments():
        truth = Truth(cluster.trace, seen.seq)
        text = viz.fork(cluster.trace, seq=seen.seq).text
        if not truth.txns:
            assert text == "No transaction was applied yet.", replay
            continue
        record, request, holds, before = truth.txns[-1]
        way = "then" if all(holds) else "else"
        if not record.event.error:
            title = f"The transaction of log entry {record.event.index} took its {way} branch"
            assert text.startswith(title), replay
        assert f"\ndecided at revision {before}\n" in text, replay
        ticks = re.findall(r"^  ([+-]) (.+) \(saw .+\)$", text.split("\nthen")[0], re.M)
        expect = [("+" if one else "-", str(c)) for c, one in zip(request.compare, holds)]
        assert ticks == expect, replay
        for named, ops in (("then", request.success), ("else", request.failure)):
            sign = "+" if way == named else "-"
            for op in ops:
                assert f"\n  {sign} {op}" in text, (replay, str(op))
        done = [c for c in truth.store.changes if c.revision == record.event.revision]
        if record.event.revision > before:
            assert f"\nrevision {record.event.revision}\n" in text, replay
            for change in done:
                verb = "deletes" if not change.put else "c"
                assert f"\n  {change.revision}.{change.sub} {verb}" in text, (replay, str(change))
        taken.add(way)
    assert taken == {"then", "else"}


def test_the_watches_words_are_what_was_told_and_what_is_still_to_come():
    states = set()
    for replay, cluster, seen in moments():
        found, truth = watchers(cluster.trace, seen.seq), Truth(cluster.trace, seen.seq)
        text = viz.streams(cluster.trace, seq=seen.seq).text
        lines = re.findall(r"^(\S+/w\d+) watches (\S+) from revision (\d+)(.*)$", text, re.M)
        assert [line[0] for line in lines] == list(found), replay
        for name, _, first, rest in lines:
            one = found[name]
            assert int(first) == one.first, (replay, name)
            told = re.search(r"; told ([^;]*)", rest)[1]
            words = re.findall(r"(\d+) (put|delete) ([^\s,]+)", told)
            assert [(int(r), kind, key) for r, kind, key in words] == one.told, (replay, name)
            assert f"; position {one.position}; " in rest, (replay, name, rest)
            served = re.search(r"; served by ([^;]*)", rest)[1]
            assert re.findall(r"n\d+", served)[-1] == one.node, (replay, name)
            lacks = []
            if seen.nodes[one.node]["alive"] and not one.ended:
                lacks = [
                    change.revision
                    for change in truth.store.events(
                        one.request.key, one.request.range_end, one.position + 1
                    )
                    if change.revision <= seen.nodes[one.node]["revision"]
                ]
            if one.ended:
                state = "ended"
                assert "compacted at" in rest or "cancelled" in rest or "refused" in rest, rest
            elif one.lost:
                state = "waiting"
                assert "; waits: " in rest, (replay, rest)
            else:
                state = "behind" if lacks else "synced"
                assert rest.endswith(f"{len(lacks)} behind" if lacks else "synced"), (replay, rest)
                behind = re.search(r"; behind: ([^;]*)", rest)
                assert behind is None or list(map(int, behind[1].split(", "))) == lacks, replay
            states.add(state)
        head = text.split("\n")[0]
        assert not found or f", the store at revision {truth.store.revision}: " in head, replay
        assert not found or tells_time(text, cluster.trace, seen.seq), replay
        counted = re.search(r": ((?:\d+ \w+(?:, )?)+)$", text.split("\n")[0])
        assert counted is None or sum(map(int, re.findall(r"\d+", counted[1]))) == len(found)
    assert states >= {"synced", "behind", "ended"}, states


def test_a_watcher_whose_node_crashes_waits():
    waits = 0
    for seed in SEEDS:
        trace = lively(seed)[0].trace
        for record in trace.of(Crashed):
            text = viz.streams(trace, seq=record.seq).text
            for name, one in watchers(trace, record.seq).items():
                if one.node == record.node and not one.ended:
                    (line,) = [x for x in text.splitlines() if x.startswith(f"{name} watches")]
                    assert line.endswith(f"; waits: {record.node} crashed"), (seed, record.seq)
                    waits += 1
    assert waits


def test_the_leases_words_are_what_the_leader_counts_and_what_hangs_on_them():
    ended = kept = 0
    for replay, cluster, seen in moments():
        truth = Truth(cluster.trace, seen.seq)
        text = viz.leases(cluster.trace, at=seen.time).text
        lines = dict(re.findall(r"^  lease (\w+): (.*)$", text, re.M))
        granted = {
            record.event.command.request.id: record
            for record in truth.entries.values()
            if isinstance(getattr(record.event.command, "request", None), LeaseGrant)
            and not record.event.error
        }
        assert set(lines) == {f"{id:x}" for id in granted}, replay
        renewals = until(cluster.trace, seen.seq, LeaseRenewed)
        renewed = [record.event.lease for record in renewals]
        assert not granted or f" at {seen.time:.3f} s, counted by " in text, replay
        for id, record in granted.items():
            line = lines[f"{id:x}"]
            ttl_s = max(record.event.command.request.ttl_s, 2)
            assert line.startswith(f"granted for {ttl_s} s at {record.time:.3f} s"), (replay, line)
            times = re.search(r"kept alive (\d+) times? \(at ([^)]*) s\)", line)
            assert int(times[1] if times else 0) == renewed.count(id), (replay, line)
            kept += times is not None
            when = [f"{r.time:.3f}" for r in renewals if r.event.lease == id]
            assert (times[2].split(", ") if times else []) == when, (replay, line)
            if id not in truth.store.leases:
                ended += 1
                check_end(truth, id, line, replay)
                continue
            keys = re.search(r"; (?:keys (.*)|no keys)$", line)[1]
            held = [kv.key_text for kv in truth.store.range(b"\0", b"\0") if kv.lease == id]
            assert (keys or "").split(", ") == (held or [""]), (replay, line)
            left = re.search(r"([\d.]+) of \d+ s left", line)
            if seen.leader and left:
                assert abs(float(left[1]) - seen.left[id]) < 0.2, (replay, line, seen.left[id])
        won = until(cluster.trace, seen.seq, BecameLeader) if granted else []
        for record in won:
            assert f"{record.node} in term {record.event.term} from {record.time:.3f} " in text
    assert ended and kept


def check_end(truth, id, line, replay):
    """An ended lease says when it ended, and what went with it."""
    revoke = next(
        record
        for record in truth.entries.values()
        if getattr(getattr(record.event.command, "request", None), "id", 0) == id
        and isinstance(record.event.command.request, LeaseRevoke)
        and not record.event.error
    )
    assert re.search(rf"(expired|revoked) at {revoke.time:.3f} s", line), (replay, line)
    gone = [
        change.kv.key_text
        for change in truth.store.changes
        if change.revision == revoke.event.revision and not change.put
    ]
    before = [r for r in truth.entries.values() if r.event.index == revoke.event.index - 1]
    if before and before[0].event.revision == revoke.event.revision:
        assert line.endswith("no keys went with it"), (replay, line)
    else:
        assert line.endswith(f"revision {revoke.event.revision} deleted {', '.join(gone)}"), replay


# Clients and promises -----------------------------------------------------------------------


def test_the_lanes_words_are_what_was_asked_and_answered():
    kinds = set()
    for replay, cluster, seen in moments():
        text = viz.lanes(cluster.trace, seq=seen.seq).text
        asked: dict[int, list] = {}
        for record in until(cluster.trace, seen.seq, Invoked, Returned):
            event = record.event
            if isinstance(event, Invoked):
                asked[event.op_id] = [record, None]
            else:
                asked[event.op_id][1] = record
        lines, now = [], []
        for call, answer in asked.values():
            told = f"  {call.node} asks {call.event.node}: {call.event.request} ({call.time:.3f} s"
            if answer is None:
                now.append("waiting")
                lines.append(f"{told}): no answer yet")
                continue
            event = answer.event
            if event.unknown:
                now.append("unknown")
                end = f"): unknown: {event.error} (gave up at {answer.time:.3f} s)"
            elif event.error:
                now.append("refused")
                end = f" to {answer.time:.3f} s): refused: {event.error}"
            else:
                now.append("answered")
                end = f" to {answer.time:.3f} s): {event.result}, revision {event.revision}"
            lines.append(told + end)
        told = [line for line in text.splitlines()[1:] if not line.startswith("  … ")]
        assert told == lines[-80:], replay
        many = f"{len(lines)} operation" if lines else "Nobody asked anything."
        assert text.startswith(many), replay
        head = text.split("\n")[0].partition(" s: ")[2]
        counted = {kind: int(many) for many, kind in re.findall(r"(\d+) (\w+)", head)}
        assert counted == {kind: now.count(kind) for kind in now}, replay
        kinds |= set(now)
    assert kinds >= {"answered", "refused", "unknown"}, kinds


def test_the_lamps_words_are_the_verdicts():
    for replay, cluster, seen in moments(*SEEDS[:2]):
        past = Trace(cluster.trace.seed, dict(cluster.trace.about))
        for record in cluster.trace[: seen.seq + 1]:
            past.add(record.time, record.node, record.event, record.cause)
        told = [*check.invariants(past), *check.service(past), check.answers(past)]
        told += [*check.watches(past), *check.leases(past)]
        text = viz.verdicts(cluster.trace, seq=seen.seq).text
        found = re.findall(
            r"^  (.+?) \(([^)]*)\): (kept|broken|nothing to judge): (.*)$", text, re.M
        )
        assert [line[0] for line in found] == [verdict.promise for verdict in told], replay
        words = [line[2] for line in found]
        counted = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(LAMPS)
                            if word in words)  # fmt: skip
        head = f"{len(told)} promises at {cluster.trace[seen.seq].time:.3f} s: {counted}"
        assert text.split("\n")[0] == head, replay
        for (_, section, word, why), verdict in zip(found, told):
            assert section.endswith(verdict.section), replay
            assert (word == "broken") == (not verdict.ok), replay
            assert word == "nothing to judge" or why.startswith(verdict.why), (replay, why)


def test_the_picture_of_all_says_what_ring_and_logs_say():
    for replay, cluster, seen in moments(SEEDS[0]):
        text = viz.picture(cluster.trace, seq=seen.seq).text
        assert text.startswith(viz.ring(cluster.trace, seq=seen.seq).text), replay
        assert text.endswith(viz.logs(cluster.trace, seq=seen.seq).text.split("\n", 1)[1]), replay


def test_a_description_in_the_markup_is_there_for_every_picture():
    cluster, _ = lively(SEEDS[0])
    names = ("ring", "logs", "spacetime", "revisions", "trees", "streams", "leases", "fork",
             "members", "verdicts", "lanes", "picture")  # fmt: skip
    for name in names:
        drawn = getattr(viz, name)(cluster)
        assert f"<title>{drawn.title[:20]}"[:15] in drawn.html(), name
        assert drawn.desc and drawn.text and "\x1b" not in drawn.text, name
        assert drawn._repr_mimebundle_()["text/plain"] == drawn.text, name
