"""Which rule decided what: from an event or a reason code to the rule's own code and its source.

Every record that decides something names its rule here (`RULE_OF`); what no rule of the core
decides stands in `NO_RULE` with the reason why, so that nothing is forgotten by accident. Such a
thing is shown with the function that did it (why_functions.py), or with that reason.

>>> rule = rule_source("may_commit")
>>> rule.title, rule.section
('Raft.may_commit', 'Raft paper, section 5.4.2, figure 8')
>>> print(rule.code.splitlines()[-1])
    return self.log.term(index) == self.term
>>> link_of("thesis 6.4, step 1")
'https://github.com/ongardie/dissertation'
"""

from __future__ import annotations

import inspect
import re
import textwrap
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from kvlearn import events as ev
from kvlearn.lease import Lessor
from kvlearn.mvcc.watch import WatchHub
from kvlearn.raft.rules import Rules
from kvlearn.viz.why_functions import DONE_BY, FUNCTIONS, function_named

# Where a section can be read: the beginning of its name -> an address.
LINKS = {
    "Raft paper": "https://raft.github.io/raft.pdf",
    "thesis": "https://github.com/ongardie/dissertation",
    "etcd api": "https://etcd.io/docs/latest/learning/api/",
    "etcd guarantees": "https://etcd.io/docs/latest/learning/api_guarantees/",
    "etcd mvcc": "https://etcd.io/docs/latest/learning/data_model/",
    "etcd lessor": "https://github.com/etcd-io/etcd/blob/main/server/lease/lessor.go",
    "etcd raft": "https://github.com/etcd-io/raft",
    "etcd": "https://etcd.io/docs/latest/learning/",
    "Gray 1989": "https://doi.org/10.1145/74850.74870",
}

# An event's class, or a reason code -> the rule that decides it.
RULE_OF: dict[type | str, str] = {
    # votes
    "LEADER_KNOWN": "may_vote_for",
    "VOTE_TAKEN": "may_vote_for",
    "LEADER_ALIVE": "in_lease",
    "LEADING": "in_lease",
    "VOTE_LOG_BEHIND": "is_up_to_date",
    "ELECTION_LOST": "election_result",
    "PRE_VOTE_LOST": "election_result",
    "QUORUM_LOST": "quorum_active",
    ev.VoteGranted: "may_vote_for",
    ev.BecameLeader: "election_result",
    # entries
    "LOG_GAP": "log_matches",
    "LOG_CONFLICT": "log_matches",
    "COMMIT_OLD_TERM": "may_commit",
    ev.Appended: "store_entries",
    ev.Truncated: "store_entries",
    ev.Committed: "may_commit",
    ev.Saved: "hard_state",
    # reads, members, snapshots
    "READ_NOT_YET": "may_read",
    ev.ReadConfirmed: "read_quorum",
    "CHANGE_PENDING": "may_reconfigure",
    "SNAPSHOT_OLD": "wants_snapshot",
    ev.SnapshotInstalled: "wants_snapshot",
    # watches and leases
    ev.WatchAsked: "starts_at",
    ev.Notified: "is_due",
    ev.LeasesCounted: "time_of",
    ev.LeaseRenewed: "renewed_until",
    ev.LeaseExpired: "is_expired",
}

# What no rule of the core decides -> (why not, the section that speaks of it).
NO_RULE: dict[type | str, tuple[str, str]] = {
    "NOT_MEMBER": ("a newcomer waits until a leader has talked to it", "thesis 4.1"),
    "TERM_OLD": ("terms are compared before any rule is asked", "Raft paper, section 5.1"),
    "HIGHER_TERM": ("terms are compared before any rule is asked", "Raft paper, section 5.1"),
    "LEADER_HEARD": ("who hears the term's leader follows it", "Raft paper, section 5.2"),
    "STARTED": ("every node starts as a follower", "Raft paper, section 5.2"),
    "LEADER_FORGOTTEN": ("somebody told it to", "etcd raft"),
    "REMOVED": ("the members are counted, nothing is weighed", "thesis 4.2.2"),
    "TRANSFERRING": ("a leader that hands over takes nothing new", "thesis 3.10"),
    "TRANSFER_ABORTED": ("a transfer has an election timeout's time", "thesis 3.10"),
    "TOO_MUCH_UNCOMMITTED": ("a limit of the configuration", "etcd raft"),
    "NO_VOTER": ("a learner has no vote", "thesis 4.2.1"),
    "NO_LEADER": ("only a leader takes commands", "Raft paper, section 8"),
    "CHANGE_UNAPPLIED": ("it does not know by whom to count", "etcd raft"),
    "CHANGE_WRONG": ("the change does not fit the members", "thesis 4.1"),
    "LEARNER_BEHIND": ("a learner catches up before it gets a vote", "thesis 4.2.1"),
    "UNHEALTHY": ("a setting of etcd: strict-reconfig-check", "etcd raft"),
    "LOST": ("the network decides", "Raft paper, section 2"),
    "CUT": ("the network decides", "Raft paper, section 2"),
    "DOWN": ("nobody listens there", "Raft paper, section 5.5"),
    "BY_HAND": ("a hand has done it", ""),
    ev.Event: ("the root of the vocabulary", ""),
    ev.Started: ("somebody started it", "Raft paper, section 5.1"),
    ev.BecameFollower: ("its reason code decides", ""),
    ev.BecameCandidate: ("its timer ran out", "Raft paper, section 5.2"),
    ev.AskedPreVote: ("its timer ran out", "thesis 9.6"),
    ev.TransferStarted: ("a client wants it", "thesis 3.10"),
    ev.TransferAborted: ("a transfer has an election timeout's time", "thesis 3.10"),
    ev.ConfChanged: ("an entry or a snapshot says so", "thesis 4.1"),
    ev.LogCompacted: ("a limit of the configuration", "Raft paper, section 7"),
    ev.StateLoaded: ("the snapshot was taken before", "Raft paper, section 7"),
    ev.Refused: ("its reason code decides", ""),
    ev.Progressed: ("the follower's answer says so", "Raft paper, section 5.3"),
    ev.Applied: ("what is committed is applied, in the log's order", "Raft paper, section 5.3"),
    ev.Crashed: ("a fault", "Raft paper, section 5.5"),
    ev.Wiped: ("a fault", "Raft paper, section 5.5"),
    ev.Paused: ("a fault", "Raft paper, section 5.5"),
    ev.Resumed: ("a fault has ended", "Raft paper, section 5.5"),
    ev.StreamClosed: ("its client is gone", "etcd api"),
    ev.Sent: ("what came before led to it, and nothing is weighed", "Raft paper, section 5.1"),
    ev.Received: ("the network decides when it comes", "Raft paper, section 5.1"),
    ev.Dropped: ("its reason code decides", ""),
    ev.Delayed: ("a hand has done it", ""),
    ev.LinksCut: ("a fault", "Raft paper, section 2"),
    ev.Healed: ("a fault has ended", "Raft paper, section 2"),
    ev.LinksChanged: ("a setting of the run", ""),
    ev.Invoked: ("a client wants it", "Raft paper, section 8"),
    ev.ClientChanged: ("a client does so", ""),
    ev.Returned: ("it carries what others decided", "Raft paper, section 8"),
}

_OWNERS = {"Raft": Rules, "WatchHub": WatchHub, "Lessor": Lessor}


class Why(NamedTuple):
    """Why something is as it is: one true sentence with its numbers.

    `seq` is the deciding record (None: no single one), `rule` the core's rule that decided, or
    with a dot in its name the function that did it, "" for none; then `unruled` says why there is
    none. `section` is where that can be read up.
    """

    sentence: str
    seq: int | None = None
    rule: str = ""
    section: str = ""
    unruled: str = ""

    @property
    def link(self) -> str:
        """An address of the paper or page that `section` names; "" for none."""
        return link_of(self.section)

    def __str__(self) -> str:
        return self.sentence

    def _repr_html_(self) -> str:
        parts = [escape(self.sentence)]
        notes = [] if self.seq is None else [f"record {self.seq}"]
        if self.rule:
            rule = rule_source(self.rule)
            kind = "function" if "." in self.rule else "rule"
            notes.append(f"{kind} <code>{escape(rule.title)}</code> ({escape(rule.where)})")
        elif self.unruled:
            notes.append(f"no rule: {escape(self.unruled)}")
        if self.section:
            named = escape(self.section)
            notes.append(f"<a href='{escape(self.link)}'>{named}</a>" if self.link else named)
        if notes:
            parts.append(f"<small>{' · '.join(notes)}</small>")
        return f"<p>{'<br>'.join(parts)}</p>"


class RuleSource(NamedTuple):
    """A rule or a function as the running code has it: `Raft.may_commit`, its section, the promise
    in one sentence, its lines of Python, and where they stand (`kvlearn/raft/rules.py, line 209`).
    """

    title: str
    section: str
    promise: str
    code: str
    where: str


@cache
def _rules_of(cls: type) -> tuple[str, ...]:
    """The methods in the last section of a class, which is called Rules."""
    _, _, rules = inspect.getsource(cls).partition("\n    # Rules ---")
    return tuple(re.findall(r"^    def (\w+)", rules, re.MULTILINE))


@cache
def rule_source(name: str) -> RuleSource:
    """The rule called `name`, or the function: `Store.compact`. Raises: KeyError for a name that
    is neither."""
    if "." in name:
        made = function_named(name)
        told = " ".join((made.__doc__ or "").split("\n\n")[0].split())
        return RuleSource(name, FUNCTIONS[name], told, *_code(made))
    for owner, cls in _OWNERS.items():
        if name in _rules_of(cls):
            rule = vars(cls)[name]
            told = " ".join((rule.__doc__ or "").split("\n\n")[0].split())
            found = re.search(r"\s*\(([^()]*)\)\.$", told)
            section = section_of(found[1]) if found else ""
            promise = told[: found.start()] + "." if found else told
            return RuleSource(f"{owner}.{name}", section, promise, *_code(rule))
    raise KeyError(f"no rule is called {name!r}")


def _code(rule: Any) -> tuple[str, str]:
    """Its lines and where they stand; empty where Python does not know them."""
    try:
        lines, line = inspect.getsourcelines(rule)
        parts = Path(inspect.getsourcefile(rule) or "").parts
    except (OSError, TypeError):
        return "", ""
    first = len(parts) - 1 - parts[::-1].index("kvlearn") if "kvlearn" in parts else 0
    code = textwrap.dedent("".join(lines)).rstrip()
    return code, f"{'/'.join(parts[first:])}, line {line}"


def section_of(told: str) -> str:
    """A short source, written out: `5.4.2` is of the paper, `6.4` of the thesis."""
    if told[:1].isdigit():  # the paper's sections 4 and 6 have no parts
        told = f"{'thesis' if told.startswith(('4.', '6.')) else 'paper'} {told}"
    if told.startswith("paper "):
        return "Raft paper, section " + told.removeprefix("paper ")
    return told


def link_of(section: str) -> str:
    """Where a section can be read; "" for none."""
    found = (link for name, link in LINKS.items() if section.startswith(name))
    return next(found, "")


def because(
    sentence: str, seq: int | None, *decided: type | str, section: str = "", unruled: str = ""
) -> Why:
    """A finished `Why`: `decided` are the name of a rule or function, a reason code, or the class
    of an event or message. The first that a rule stands behind gives the rule, else the first that
    a function has made the function, else the first with a reason the reason; the first with a
    section the section."""
    rule = ""
    for what in decided:
        named = what if _is_rule(what) else RULE_OF.get(what, "")
        rule = rule or named
        unruled = unruled or NO_RULE.get(what, ("", ""))[0]
        if not section:
            section = rule_source(named).section if named else NO_RULE.get(what, ("", ""))[1]
    rule = rule or next((DONE_BY[what] for what in decided if what in DONE_BY), "")
    section = section or FUNCTIONS.get(rule, "")
    return Why(finished(sentence), seq, rule, section, "" if rule else unruled)


def _is_rule(what: type | str) -> bool:
    rules = isinstance(what, str) and any(what in _rules_of(cls) for cls in _OWNERS.values())
    return rules or what in FUNCTIONS


LONGEST = 220  # characters of a sentence


def finished(sentence: str) -> str:
    """With one full stop, and no longer than can be read at a glance."""
    told = " ".join(sentence.split()).rstrip(" .,:;!")
    if len(told) > LONGEST - 1:
        told = told[: LONGEST - 2].rstrip(" .,:;") + "…"
    return told + ("" if told.endswith(("…", "?")) else ".")


def brief(thing: Any, limit: int = 40) -> str:
    """A request, a command or a message in few characters."""
    told = " ".join(str(thing).split())
    return told if len(told) <= limit else told[: limit - 1].rstrip(" ,.;:") + "…"
