"""Hands on the store: what a panel's forms ask, carried out without waiting and told as Python.

A command comes from the browser as text that somebody typed. It is read first, whole, and refused
in words (`Refusal` names the field) before anything happens; then it is carried out where the
cluster stands: a request is submitted, and its answer comes as virtual time goes by. Watches and
keep-alives are standing orders of the panel's own client, so they go back in time with the cluster.

Every action has a line of Python that does the same:

>>> from kvlearn import Cluster
>>> cluster = Cluster(3, seed=7)
>>> leader = cluster.wait_for_leader()
>>> hands = Hands(cluster, "panel")
>>> hands.do({"op": "put", "key": "a", "value": "1", "node": ""})
>>> print(hands.lines[-1])
client = cluster.client("n3")
client.put("a", "1")

A line's client asks one node, as the panel does; it waits until the answer is there, and asks again
if nothing was done.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from kvlearn import words
from kvlearn.errors import RequestError
from kvlearn.kv.leases import Compact, LeaseGrant, LeaseKeepAlive, LeaseRevoke
from kvlearn.kv.members import MemberAdd, MemberPromote, MemberRemove, MoveLeader
from kvlearn.kv.requests import as_bytes
from kvlearn.kv.txn import Compare, Txn, check_txn
from kvlearn.kv.watches import WatchCreate
from kvlearn.sim.channel import SimulatedChannel
from kvlearn.viz.hand_log import ASKER, KEEPER, KEPT_LINES, HandLog, Line
from kvlearn.viz.store_fold import StoreFold
from kvlearn.viz.store_rows import fork_facts
from kvlearn.viz.txn_fold import judge

ANSWER_S = 5.0  # a request from the panel is given up after so many virtual seconds
LINE_BYTES, NEWS_BYTES = 1800, 2400  # an update is at most 4 KB
FIELDS = {  # word of a comparison -> how a program writes it
    "value": "value",
    "version": "version",
    "create": "create_revision",
    "mod": "mod_revision",
    "lease": "lease_of",
}
SIGNS = {"=": "==", "≠": "!=", ">": ">", "<": "<"}


class Refusal(ValueError):
    """What was typed makes no sense; `field` names the field of the form."""

    def __init__(self, field: str, why: str):
        self.field = field
        super().__init__(why)


@dataclass
class Plan:
    """One thing to do. `node` is who is asked: "" is whoever leads, None nobody; `do` is told.
    `needs` are lines of Python that must come before `line`; with `anyone`, the client of the line
    may turn to all nodes."""

    line: str
    do: Callable[[str], Any]
    node: str | None = ""
    needs: tuple[str, ...] = ()
    anyone: bool = False


class Hands:
    """What one panel does to the store of its cluster, under the name of `client`."""

    def __init__(self, cluster: Any, client: str):
        self.cluster, self.client = cluster, client
        self._log = self.make_log()
        self._untold: deque[dict[str, Any]] = deque()  # lines and previews, each for one update
        self._asked: list[int] = []  # requests that wait for their answer
        self._fold: StoreFold | None = None
        self._kept_told: list[int] | None = []
        self._told: list[Line] | None = None  # lines that the page knows
        self._state = (0, 0)

    def make_log(self) -> Any:
        """What writes down the lines of Python."""
        return HandLog(self.cluster)

    # Carrying out -------------------------------------------------------------------------------

    def knows(self, command: dict) -> bool:
        """Whether the command is for these hands: `compact` of a node's log is not."""
        return command["op"] in READERS and (command["op"] != "compact" or "revision" in command)

    def check(self, command: dict) -> None:
        """Refuse what makes no sense; nothing happens. Raises: Refusal."""
        self._read(command)

    def reader(self, op: str) -> Callable[[dict], list[Plan]]:
        """What reads a command of that name."""
        return partial(READERS[op], self)

    def _read(self, command: dict) -> list[Plan]:
        _check_text(command)
        plans = self.reader(command["op"])(command)
        for plan in plans:
            if _size(plan.line) > LINE_BYTES:
                raise Refusal("value", "that is too long for the panel: do it in a cell")
            if plan.node is not None and plan.node not in ("", *self.cluster.nodes):
                raise Refusal("via", f"there is no node {plan.node!r}")
        return plans

    def do(self, command: dict) -> None:
        """Carry it out where the cluster stands, and tell it as Python. Raises: Refusal."""
        cluster = self.cluster
        self.absorb()
        for plan in self._read({**command, "seq": len(cluster.trace) - 1}):
            time, setup, node = cluster.now, plan.needs, plan.node
            if plan.anyone and not node:
                node = next(iter(cluster.nodes))
                setup = (*setup, "client = cluster.client()")
            elif node is not None:
                running = [name for name, view in cluster.nodes.items() if view.alive]
                node = node or cluster.leader or (running or list(cluster.nodes))[0]
                setup = (*setup, f"client = cluster.client({quoted(node)})")
            plan.do(node)
            self._log.tell(plan.line, time, setup)

    def _request(self, request: Any, line: str, command: dict, *needs: str) -> Plan:
        def ask(node: str) -> None:
            self._asked.append(self.cluster.submit(request, node, self.client))

        return Plan(line, ask, command.get("node") or "", needs)

    def _channel(self, node: str, name: str | None = None) -> SimulatedChannel:
        """The panel's way to one node, or with "" to all of them."""
        return SimulatedChannel(self.cluster, node or None, name or self.client)

    def give_up_late(self) -> None:
        """Requests that got no answer in time end, as a client's do."""
        cluster, waiting = self.cluster, []
        self.absorb()
        for op_id in self._asked:
            try:
                operation = cluster.operation(op_id)
            except (KeyError, ValueError):
                continue  # it was asked in a future that has been rewound
            if operation.done or operation.client != self.client:
                continue
            if cluster.now - operation.call_s >= ANSWER_S:
                now = cluster.now
                cluster.give_up(op_id)
                self._log.tell(f"cluster.give_up({op_id})  # no answer in {ANSWER_S:g} s", now)
            else:
                waiting.append(op_id)
        self._asked = waiting

    # Python -------------------------------------------------------------------------------------

    @property
    def lines(self) -> list[Line]:
        """What was done in the present run."""
        return self._log.lines[-KEPT_LINES:]

    def script(self) -> str:
        """All lines of the present run, as one program."""
        return self._log.script()

    def absorb(self) -> None:
        """Notice what others did."""
        self._log.absorb()

    def tell_verb(self, command: dict, time: float) -> None:
        """Write down what was done to a node or to the network, if it has a line of Python."""
        line = verb_line(command, self.cluster)
        if line:
            self._log.tell(line, time)

    def tell_again(self) -> None:
        """A page has opened: tell it the lines that were told before."""
        self._untold.clear()
        self._told = None
        self._kept_told = None

    def _news_of_lines(self) -> None:
        """Have told what is new in the log; all of it, if the run is another."""
        state = self._log.state
        if self._told is not None and state == self._state:
            return
        lines = self.lines
        told, self._told, self._state = self._told, lines, state
        if not told or lines[: len(told)] != told:
            self._untold = deque(news for news in self._untold if "lines" not in news)
            if lines or told:
                self._untold.append({"log": ASKER})
            told = []
        for line in lines[len(told) :]:
            self._untold.append({"lines": [[line.number, line.time, list(line.setup), line.line]]})

    def add_news(self, flags: dict[str, Any]) -> None:
        """Put what is new for the panel among the flags of the next update, as far as they fit."""
        kept = self.kept()
        if kept != self._kept_told:
            flags["kept"] = self._kept_told = kept
        self._news_of_lines()
        while self._untold:
            news = self._untold[0]
            if flags and _size(flags) + _size(news) > NEWS_BYTES:
                return  # the next update has room
            self._untold.popleft()
            if "log" in news:
                flags.pop("lines", None)
            lines = [*flags.get("lines", []), *news.get("lines", [])]
            flags.update(news, **({"lines": lines} if lines else {}))

    def kept(self) -> list[int]:
        """The leases that the panel keeps alive."""
        clients = getattr(self.cluster, "_clients", None)
        return sorted(id for name, id in clients.keepers if name == KEEPER) if clients else []

    # Keys ---------------------------------------------------------------------------------------

    def _put(self, command: dict) -> list[Plan]:
        if command.get("span", "one") != "one":
            raise Refusal("span", "put writes one key: choose “this key”")
        key, text = _key(command), command["value"]
        lease = _chosen(command, needed=False)
        call = f"put({quoted(key)}, {quoted(text)}{f', lease={lease:#x}' if lease else ''})"
        return [self._request(words.put(key, text, lease), f"client.{call}", command)]

    def _get(self, command: dict) -> list[Plan]:
        spoken, options = _span(command)
        revision = _number(command, "revision", least=0, empty=0)
        if revision:
            spoken, options = f"{spoken}, revision={revision}", {**options, "revision": revision}
        return [self._request(words.get(**options), f"client.get({spoken})", command)]

    def _delete(self, command: dict) -> list[Plan]:
        spoken, options = _span(command)
        return [self._request(words.delete(**options), f"client.delete({spoken})", command)]

    # Transactions -------------------------------------------------------------------------------

    def _txn(self, command: dict) -> list[Plan]:
        txn, line, names = _transaction(command)
        try:
            check_txn(txn, lambda op: None)
        except RequestError as error:
            raise Refusal("then.0.key", _in_words(error)) from None
        needs = (f"from kvlearn import {', '.join(names)}",) if names else ()
        return [self._request(txn, line, command, *needs)]

    def preview(self, command: dict) -> None:
        """Which branch the transaction would take on the store after record `seq`, and why."""
        if command["epoch"] != self.cluster.trace.era:
            return  # the panel asks anew once it has heard that time went back
        told: dict[str, Any] = {"number": command["number"], "who": command["who"], "fork": None}
        try:
            _check_text(command)
            txn, _, _ = _transaction(command)
            fork = judge(txn, self._store(command["seq"]).store)
            told["now"] = _verdict(fork)
            facts = fork_facts(fork)
            told["fork"] = facts if _size(facts) < LINE_BYTES else None
            check_txn(txn, lambda op: None)
        except Refusal as refusal:
            told["now"] = f"not whole yet: {refusal}"
        except RequestError as error:
            told["now"] = f"it would be refused: {_in_words(error)}"
            told["fork"] = None
        self._untold.append({"preview": told})

    def _store(self, seq: int) -> Any:
        """The state machine after record `seq`, as the node has it that has applied most."""
        trace, fold = self.cluster.trace, self._fold
        if fold is None or fold.trace is not trace or fold.era != trace.era or fold.seq > seq:
            fold = self._fold = StoreFold(trace, None, self.cluster.store)
        return fold.upto(min(seq, len(trace) - 1)).machine

    # Watches ------------------------------------------------------------------------------------

    def what_to_watch(self, command: dict) -> tuple[WatchCreate, str]:
        """The request, and the arguments as a program writes them. Raises: Refusal."""
        spoken, options = _span(command)
        start, end = words.interval_of(
            options["key"], options.get("range_end"), *map(options.get, _WAYS, (False, False))
        )
        revision = _number(command, "revision", least=0, empty=0)
        filters = tuple(name for name in ("put", "delete") if command.get(f"no_{name}"))
        prev_kv = bool(command.get("prev_kv"))
        request = WatchCreate(start, end, revision, prev_kv=prev_kv, filters=filters)
        spoken += f", start_revision={revision}" * bool(revision)
        spoken += f", filters={json.dumps(filters)}" * bool(filters) + ", prev_kv=True" * prev_kv
        return request, spoken

    def _watch(self, command: dict) -> list[Plan]:
        request, spoken = self.what_to_watch(command)
        name = f"watch_{self._clients.opened.get(self.client, 0) + 1}"
        only = command.get("node") or ""

        def open_it(node: str) -> None:
            self._channel(only).open_stream(node, request)

        return [Plan(f"{name} = client.watch({spoken})", open_it, only, anyone=True)]

    def _unwatch(self, command: dict) -> list[Plan]:
        stream = command["stream"].split(" ")[0]
        number = stream.rpartition("/w")[2]
        if not stream.startswith(f"{self.client}/w") or not number.isdecimal():
            raise Refusal("stream", f"{stream} is no watch of this panel")

        def close(_: str) -> None:
            if stream not in self._clients.streams:
                raise ValueError(f"{stream} has not been opened yet where the cursor stands")
            self._channel("").close_stream(stream)

        return [Plan(f"watch_{number}.cancel()", close, None)]

    @property
    def _clients(self) -> Any:
        return self.cluster._clients

    # Leases -------------------------------------------------------------------------------------

    def _grant(self, command: dict) -> list[Plan]:
        ttl_s = _number(command, "ttl", least=1)
        id = _hex(command, "own_id")
        own = f", id={id:#x}" if id else ""
        line = f"lease = client.lease({ttl_s}{own})"
        return [self._request(LeaseGrant(ttl_s, id), line, command)]

    def _attach(self, command: dict) -> list[Plan]:
        """Keys hang on a lease by being put with it; what is there keeps its value."""
        id = _chosen(command)
        keys = [key for key in command.get("keys", "").replace(",", " ").split() if key]
        if not keys:
            raise Refusal("keys", "which keys? Write them with blanks between them: a b")
        if len(set(keys)) < len(keys):
            raise Refusal("keys", "each key once")
        store = self._store(command["seq"]).store
        missing = [key for key in keys if not store.range(as_bytes(key), b"")[0]]
        if missing:
            new = f"there is no key {' '.join(missing)[:60]} at the cursor"
            raise Refusal("keys", f"{new}: put it first, or put it with this lease")
        puts = [words.put(key, b"", id, ignore_value=True) for key in keys]
        told = [f"put({quoted(key)}, lease={id:#x}, ignore_value=True)" for key in keys]
        if len(puts) == 1:
            return [self._request(puts[0], f"client.{told[0]}", command)]
        line = f"client.txn().then({', '.join(told)}).commit()"
        request = Txn((), tuple(puts))
        return [self._request(request, line, command, "from kvlearn import put")]

    def _held(self, command: dict) -> tuple[int, str, tuple[str, ...]]:
        """A lease's id, and how a program gets hold of it."""
        id = _chosen(command)
        ttl_s = _number(command, "ttl", least=1, empty=0)
        if not ttl_s:
            known = self._store(command["seq"]).lessor.leases.get(id)
            ttl_s = known.ttl_s if known else 1
        return id, f"Lease(client, {id:#x}, {ttl_s})", ("from kvlearn.handles import Lease",)

    def _keep_once(self, command: dict) -> list[Plan]:
        id, lease, needs = self._held(command)
        line = f"{lease}.keep_alive_once()"
        return [self._request(LeaseKeepAlive(id), line, command, *needs)]

    def _keep(self, command: dict) -> list[Plan]:
        id, lease, needs = self._held(command)
        ttl_s = int(lease.rpartition(" ")[2][:-1])
        only = command.get("node") or ""

        def keep(node: str) -> None:
            self._channel(only, KEEPER).keep(id, node, max(ttl_s / 3, 0.1))

        return [Plan(f"kept_{id:x} = {lease}.keep_alive()", keep, only, needs, anyone=True)]

    def _unkeep(self, command: dict) -> list[Plan]:
        id = _chosen(command)

        def stop(_: str) -> None:
            if id not in self.kept():
                raise ValueError(f"lease {id:x} is not kept alive by this panel at the cursor")
            self._channel("", KEEPER).unkeep(id)

        return [Plan(f"kept_{id:x}.stop_keep_alive()", stop, None)]

    def _revoke(self, command: dict) -> list[Plan]:
        id, lease, needs = self._held(command)
        stop = self._unkeep(command) if id in self.kept() else []
        plan = self._request(LeaseRevoke(id), f"{lease}.revoke()", command, *needs)
        return [*stop, plan]

    # Upkeep -------------------------------------------------------------------------------------

    def _compact(self, command: dict) -> list[Plan]:
        revision = _number(command, "revision", least=1)
        return [self._request(Compact(revision), f"client.compact({revision})", command)]

    def _add(self, command: dict) -> list[Plan]:
        cluster, name = self.cluster, command.get("name", "").strip()
        if not re.fullmatch("n[1-9][0-9]{0,5}", name):
            raise Refusal("name", f"a node is called n and a number, like n6, not {name[:20]!r}")
        learner = bool(command.get("learner"))
        spoken = quoted(name) + ", learner=True" * learner
        plan = self._request(MemberAdd(name, learner), f"client.add_member({spoken})", command)
        if name in cluster.nodes:
            return [plan]
        new = Plan(f"cluster.add_node({spoken})", lambda _: cluster.add_node(name, learner), None)
        return [new, plan]

    def _remove(self, command: dict) -> list[Plan]:
        name = command["name"]
        line = f"client.remove_member({quoted(name)})"
        return [self._request(MemberRemove(name), line, command)]

    def _promote(self, command: dict) -> list[Plan]:
        name = command["name"]
        line = f"client.promote_member({quoted(name)})"
        return [self._request(MemberPromote(name), line, command)]

    def _transfer(self, command: dict) -> list[Plan]:
        to = command.get("to") or command["name"]
        return [self._request(MoveLeader(to), f"client.move_leader({quoted(to)})", command)]


READERS = {
    "put": Hands._put,
    "get": Hands._get,
    "delete": Hands._delete,
    "txn": Hands._txn,
    "watch": Hands._watch,
    "unwatch": Hands._unwatch,
    "lease_grant": Hands._grant,
    "lease_attach": Hands._attach,
    "lease_keep_alive_once": Hands._keep_once,
    "lease_keep": Hands._keep,
    "lease_unkeep": Hands._unkeep,
    "lease_revoke": Hands._revoke,
    "compact": Hands._compact,
    "member_add": Hands._add,
    "member_new": Hands._add,
    "member_remove": Hands._remove,
    "member_promote": Hands._promote,
    "transfer": Hands._transfer,
}
_WAYS = ("prefix", "from_key")


# What was typed -----------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """Text as a program writes it.

    >>> print(quoted('a"b'), quoted("ü\\n"))
    "a\\"b" "ü\\n"
    """
    return json.dumps(text, ensure_ascii=False)


def _check_text(command: dict, at: str = "") -> None:
    """Half of a surrogate pair, which a browser sends if it was typed, is no text. Raises: Refusal.

    >>> _check_text({"then": [{"key": "a"}, {"key": chr(0xD800)}]})
    Traceback (most recent call last):
    ...
    kvlearn.viz.hands.Refusal: there is half a character in it
    """
    for field, given in command.items():
        if isinstance(given, list):
            for k, row in enumerate(given):
                _check_text(row if isinstance(row, dict) else {str(k): row}, f"{at}{field}.{k}.")
        elif isinstance(given, str) and not given.isascii() and re.search("[\ud800-\udfff]", given):
            raise Refusal(f"{at}{field}", "there is half a character in it")


def _key(command: dict, field: str = "key") -> str:
    key = command.get(field, "")
    if not key:
        raise Refusal(field, "a key is needed, such as a")
    return key


def _number(command: dict, field: str, least: int, empty: int | None = None) -> int:
    text = str(command.get(field, "")).strip()
    if not text and empty is not None:
        return empty
    if not (text.isascii() and text.isdecimal() and least <= int(text) < 2**63):
        told = f"a whole number from {least} on"
        raise Refusal(field, f"{field} is {told}, not {text!r}" if text else f"{field}: {told}")
    return int(text)


def _hex(command: dict, field: str) -> int:
    """A lease's id as somebody types it: in hex, as all pictures show it; 0 if nothing is there."""
    text = str(command.get(field, "")).strip().lower()
    try:
        id = int(text or "0", 16)
    except ValueError:
        id = -1
    if not 0 <= id < 2**63:
        raise Refusal(field, f"a lease's id is a hexadecimal number, like 7 or 1f, not {text!r}")
    return id


def _chosen(command: dict, needed: bool = True) -> int:
    """A lease's id as a form knows it, which offers those that there are; in decimal."""
    text = str(command.get("lease", ""))
    if not text.isdecimal():
        if needed or text:
            raise Refusal("lease", "which lease? Grant one first, then choose it")
        return 0
    return int(text)


def _span(command: dict) -> tuple[str, dict[str, Any]]:
    """The keys that are meant: as a program says it, and as arguments."""
    span, key = command.get("span", "one"), command.get("key", "")
    match span:
        case "one":
            return quoted(_key(command)), {"key": key}
        case "range":
            end = _key(command, "range_end")
            if end <= key:
                raise Refusal("range_end", f"the end comes after {key!r}, and is not part of it")
            return f"{quoted(_key(command))}, {quoted(end)}", {"key": key, "range_end": end}
        case "prefix" | "from_key":
            return f"{quoted(key)}, {span}=True", {"key": key, span: True}
    raise Refusal("span", f"no keys are called {span!r}")


def _transaction(command: dict) -> tuple[Txn, str, list[str]]:
    """A transaction, its line of Python, and the names that the line needs. Raises: Refusal."""
    names: set[str] = set()
    parts: list[list[tuple[Any, str]]] = [
        [_comparison(row, f"compare.{k}", names) for k, row in enumerate(command["compare"])]
    ]
    for branch in ("then", "else"):
        rows = enumerate(command[branch])
        parts.append([_operation(row, f"{branch}.{k}", names) for k, row in rows])
    line = "client.txn()"
    for method, part in zip(("if_", "then", "else_"), parts):
        if part:
            line += f".{method}({', '.join(told for _, told in part)})"
    txn = Txn(*(tuple(made for made, _ in part) for part in parts))
    return txn, f"{line}.commit()", sorted(names)


def _comparison(row: dict, at: str, names: set[str]) -> tuple[Any, str]:
    key = _row_key(row, at)
    target, sign = row.get("target", "version"), row.get("sign", "=")
    if target not in FIELDS or sign not in SIGNS:
        raise Refusal(f"{at}.target", f"nothing compares like {target} {sign}")
    try:
        if target == "value":
            operand: Any = row.get("operand", "")
            told = quoted(operand)
        elif target == "lease":
            operand = _hex(row, "operand")
            told = f"{operand:#x}" if operand else "0"
        else:
            operand = _number(row, "operand", least=0)
            told = str(operand)
    except Refusal as refusal:
        raise Refusal(f"{at}.operand", str(refusal).replace("operand", target)) from None
    field = FIELDS[target]
    names.add(field)
    right = as_bytes(operand) if target == "value" else operand
    compare = Compare(as_bytes(key), target, _RESULTS[sign], right)
    return compare, f"{field}({quoted(key)}) {SIGNS[sign]} {told}"


_RESULTS = {"=": "equal", "≠": "not_equal", ">": "greater", "<": "less"}


def _operation(row: dict, at: str, names: set[str]) -> tuple[Any, str]:
    key, op = _row_key(row, at), row.get("op", "put")
    if op not in ("put", "get", "delete"):
        raise Refusal(f"{at}.op", f"an operation is put, get or delete, not {op!r}")
    names.add(op)
    if op == "put":
        text = row.get("value", "")
        return words.put(key, text), f"put({quoted(key)}, {quoted(text)})"
    return getattr(words, op)(key), f"{op}({quoted(key)})"


def _row_key(row: dict, at: str) -> str:
    if not row.get("key"):
        raise Refusal(f"{at}.key", "each row needs a key")
    return row["key"]


# In words -----------------------------------------------------------------------------------------


def _in_words(error: RequestError) -> str:
    return str(error).removeprefix("etcdserver: ")


def _verdict(fork: Any) -> str:
    """Which branch, and why."""
    if not fork.seen:
        return "now: then, because nothing is compared"
    for one in fork.seen:
        if not one.holds:
            compare = one.compare
            key = quoted(compare.key.decode(errors="replace"))
            return f"now: else, because {FIELDS[compare.target]}({key}) is {one.saw}"
    return f"now: then, because {'all comparisons hold' if len(fork.seen) > 1 else 'it holds'}"


def _size(facts: Any) -> int:
    return len(json.dumps(facts, ensure_ascii=False).encode())


def verb_line(command: dict, cluster: Any) -> str:
    """The line of Python of what was done to a node or to the network; "": it has none."""
    node, packet = quoted(command.get("node") or ""), command.get("packet")
    about = _message_of(packet, cluster)
    match command["op"]:
        case "crash" | "restart" | "pause" | "resume" | "isolate" | "campaign" | "compact" as verb:
            return f"cluster.{verb}({node})"
        case "heal":
            return "cluster.heal()"
        case "partition":
            side = command["side"]
            rest = [name for name in cluster.nodes if name not in side]
            return f"cluster.partition({json.dumps(side)}, {json.dumps(rest)})"
        case "drop" | "deliver" | "duplicate" as verb:
            return f"cluster.{verb}({packet}){about}"
        case "delay":
            usual = 10 * cluster.links.latency_s[1]
            seconds = command["by_us"] / 1e6 if "by_us" in command else usual
            return f"cluster.delay({packet}, {seconds!r}){about}"
    return ""


def _message_of(packet: int | None, cluster: Any) -> str:
    """What a packet carries, as a comment."""
    for record in reversed(cluster.trace) if packet is not None else ():
        if getattr(record.event, "packet", None) == packet:
            message = record.event.message
            told = f"{message} {message.source}→{message.target}".replace("\n", " ")
            return f"  # {told if len(told) <= 70 else told[:69] + '…'}"
    return ""
