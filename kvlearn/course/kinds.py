"""The kinds of exercise: predict a fact, fill or mend a rule, write a witness.

An exercise knows how to judge an answer, and holds a solution, which tests put to it and which
the teacher's version of a notebook shows. Answers are strangers' code: whatever they raise, and
however long they run, the exercise answers with a sentence.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kvlearn.course.limits import HALTS, BoundedCluster, Spent, blame, bounded
from kvlearn.course.page import Fold, Words
from kvlearn.course.rules import source_of
from kvlearn.course.trials import ALL, Difference, Outcome, Trial, Watch, verdict_of
from kvlearn.course.verdicts import Judgement, broke, place, window
from kvlearn.errors import Blank, TimedOut, Violation
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.sim.script import Playback, ScriptError, play
from kvlearn.trace import Trace


@dataclass(frozen=True)
class Fact:
    """What a run says. `seq` is the record that shows it, if there is a trace; `hints` answer the
    likely mistakes."""

    actual: Any
    trace: Trace
    seq: int
    why: str
    hints: Mapping[Any, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Predict:
    """Say what will happen; `fact()` runs it. `tidy` brings answers into one form."""

    name: str
    question: str
    fact: Callable[[], Fact]
    solution: str  # Python source: the line that answers
    tidy: Callable[[Any], Any] = lambda answer: answer
    empty: Any = None  # what the notebook holds before it is answered

    def judge(self, answer: Any) -> Judgement:
        """Compare an answer with the run."""
        if answer is None or answer is ... or answer == self.empty:
            return Judgement(self.name, None, "Not answered yet", [self.question])
        fact = self.fact()
        try:
            said = self.tidy(answer)
        except (TypeError, ValueError) as error:
            why = [f"{error}", self.question]
            return Judgement(self.name, False, "This cannot be read as an answer", why)
        record = fact.trace[fact.seq] if len(fact.trace) else None
        shown = window(fact.trace, fact.seq) if record is not None else []
        if said == fact.actual:
            title = f"Right: {_said(fact.actual)}"
            return Judgement(self.name, True, title, [fact.why], record=record, parts=shown)
        # A page keeps the outcome folded, so that there is a second try.
        title = f"You said {_said(said)}; the run says otherwise"
        hint = fact.hints.get(_key(said), "")
        why = [f"{hint} Think once more, or look at the run:".strip()]
        told = [Words(f"The run says {_said(fact.actual)}. {fact.why}"), *shown]
        inside = "".join(part.html() for part in told)
        words = "\n".join(text for part in told if (text := part.text()))
        parts = [Fold("what the run says", inside, words)]
        return Judgement(self.name, False, title, why, record=record, parts=parts)


def names(answer: Any, size: int = 5) -> tuple[str, ...]:
    """Names of nodes n1 to n`size` in any form, sorted: "n2 n1", ["n1", "n2"], {"n1"}.

    >>> names("n2, n1")
    ('n1', 'n2')
    """
    if isinstance(answer, str):
        answer = answer.replace(",", " ").split()
    found = list(answer)
    known = [f"n{number}" for number in range(1, size + 1)]
    for name in found:
        if not isinstance(name, str) or name[:1] != "n":
            raise ValueError(f"{name!r} is not the name of a node; write names as ['n1', 'n2'].")
        if name not in known:
            raise ValueError(f"There is no {name}: the nodes are {' '.join(known)}.")
    return tuple(sorted(set(found)))


def _said(answer: Any) -> str:
    if isinstance(answer, tuple):
        return " ".join(map(str, answer)) or "nobody"
    return str(answer)


def _key(said: Any) -> Any:
    try:
        hash(said)
    except TypeError:
        return None
    return said


# Rules --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fill:
    """Write a rule into a blank, or mend a broken one: `rule` of a class derived from `base`."""

    name: str
    rule: str
    because: str  # why the right answer is right
    solution: str  # Python source: the class's body
    trials: tuple[Trial, ...] = ALL
    hint: Callable[[Difference], str] = lambda first: ""  # for the first wrong decision
    base: type = Raft
    scenes: str = "candidates at once, packets twice, logs behind, crashes, cuts, loss"

    def judge(self, cls: Any) -> Judgement:
        """Let the class prove itself in every trial."""
        base = self.base.__name__
        if not (isinstance(cls, type) and issubclass(cls, self.base)):
            what = f"This exercise takes a class derived from {base}, not {type(cls).__name__}"
            return Judgement(self.name, False, what, ["Write `check(Mine, exercise=...)`."])
        outcomes = []
        for trial in self.trials:
            outcomes.append(trial.run(cls, (self.rule,)))
            if outcomes[-1].error is not None:
                return self._raised(cls, outcomes[-1])
        outcomes.sort(key=lambda outcome: not outcome.stuck)  # what came of it says more
        for decided in (self._broke, self._differed, self._stuck):
            for outcome in outcomes:
                judgement = decided(cls, outcome)
                if judgement is not None:
                    return judgement
        asked, runs = sum(outcome.asked for outcome in outcomes), len(outcomes)
        proof = (
            f"`{self.rule}` was asked {asked} times in {runs} runs ({self.scenes}), and decided as "
            f"{base} does each time. Every promise was kept."
        )
        return Judgement(
            self.name, True, f"{cls.__name__} keeps its promises", [self.because, proof]
        )

    def _raised(self, cls: type, outcome: Outcome) -> Judgement:
        error = outcome.error
        if isinstance(error, Blank):
            why = [
                f"{error}",
                f"Write it in the class above; `show({self.base.__name__}.{self.rule})` "
                "is for later.",
            ]
            return Judgement(self.name, None, f"{self.rule} is still blank", why, rule=self.rule)
        where = blame(error)
        what = str(error) if isinstance(error, Spent) else f"{type(error).__name__}: {error}"
        title = f"{cls.__name__} could not decide: {what}"
        why = [f"It came up {where}." if where else "", f"The scene was “{outcome.trial}”."]
        return Judgement(self.name, False, title, [text for text in why if text], rule=self.rule)

    def _broke(self, cls: type, outcome: Outcome) -> Judgement | None:
        verdict = outcome.broken
        if verdict is None:
            return None
        why = [broke(outcome)]
        if outcome.first:
            why.append(f"It began with a decision under the rule `{self.rule}`: {outcome.first}.")
            why += self._hint(outcome)
        parts = window(outcome.trace, verdict.record.seq) if verdict.record else []
        return Judgement(
            self.name, False, f"{verdict.promise} is broken by {cls.__name__}.{self.rule}", why,
            verdict.promise, self.rule, verdict.record, parts,
        )  # fmt: skip

    def _differed(self, cls: type, outcome: Outcome) -> Judgement | None:
        first = outcome.first
        if first is None:
            return None
        record = outcome.trace[first.seq]
        where = f"record {first.seq} at {record.time:.4f} s (seed {outcome.seed})"
        why = [f"After {where}, in the scene “{outcome.trial}”: {first}."]
        if first.said == "None":
            why.append("A rule without `return` answers None, which counts as no.")
        why += self._hint(outcome)
        if outcome.stuck:
            why.append(f"What came of it: {outcome.stuck}.")
        else:
            base = self.base.__name__
            why.append(f"No promise broke in this run. But the rule is another one than {base}'s.")
        title = f"{cls.__name__}.{self.rule} decides otherwise than the rule"
        parts = window(outcome.trace, first.seq)
        return Judgement(self.name, False, title, why, "", self.rule, record, parts)

    def _stuck(self, cls: type, outcome: Outcome) -> Judgement | None:
        if not outcome.stuck:
            return None
        record = outcome.trace[-1]
        why = [f"In the scene “{outcome.trial}” (seed {outcome.seed}): {outcome.stuck}."]
        title = f"With {cls.__name__} the cluster does not go on"
        return Judgement(self.name, False, title, why, "", self.rule, record)

    def _hint(self, outcome: Outcome) -> list[str]:
        hint = self.hint(outcome.first)
        return [hint] if hint else []


# Witnesses ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Witness:
    """Write a scene in which `mutant` breaks a promise and `reference` does not.

    The answer is a function of a cluster, or the text of a transcript that makes its own.
    """

    name: str
    mutant: type[Raft]
    because: str
    solution: str
    size: int = 5
    seed: int = 1
    hint: str = ""
    reference: type = Raft

    def judge(self, scene: Any) -> Judgement:
        """Play the scene twice: with the mutant, and with the reference."""
        if scene is None or _is_empty(scene):
            one, other = self.mutant.__name__, self.reference.__name__
            ask = f"Write moves that make {one} break a promise; {other} must keep it."
            return Judgement(self.name, None, "There is no scene yet", [ask])
        if not isinstance(scene, str) and not callable(scene):
            what = f"This exercise takes a function or a transcript, not {type(scene).__name__}"
            return Judgement(self.name, False, what, ["Write `check(my_scene, exercise=...)`."])
        convicted = self._play(scene, self.mutant)
        acquitted = self._play(scene, self.reference) if convicted.error is None else convicted
        return self._judge(convicted, acquitted)

    def _judge(self, convicted: Outcome, acquitted: Outcome) -> Judgement:
        mutant, rule = self.mutant.__name__, self.mutant.rule
        whole = self.reference.__name__
        if convicted.error is not None:
            return self._raised(convicted)
        if acquitted.broken is not None:
            verdict = acquitted.broken
            why = [
                f"{whole} itself does not survive it: {verdict.promise} broke at {place(verdict)}: "
                f"{verdict.why}.",
                "A witness breaks the mutant by faults that Raft promises to survive: crashes, "
                "pauses, "
                "cuts, lost and late messages. A wiped disk is not among them.",
            ]
            parts = window(acquitted.trace, verdict.record.seq) if verdict.record else []
            title = f"The scene convicts {whole} too, so it shows nothing about {mutant}"
            return Judgement(
                self.name, False, title, why, verdict.promise, "", verdict.record, parts
            )
        if convicted.broken is None:
            return self._not_convicted(convicted)
        verdict = convicted.broken
        why = [f"{verdict.promise} broke at {place(verdict)}: {verdict.why}.", self.because]
        why.append(f"{whole} keeps every promise in that scene: its `{rule}` decides otherwise.")
        parts = window(convicted.trace, verdict.record.seq) if verdict.record else []
        title = f"{mutant} is convicted, and {whole} acquitted"
        return Judgement(self.name, True, title, why, verdict.promise, rule, verdict.record, parts)

    def _not_convicted(self, outcome: Outcome) -> Judgement:
        mutant, rule = self.mutant.__name__, self.mutant.rule
        title = f"{mutant} got away: no promise broke"
        if outcome.first is None:
            why = [
                f"`{rule}` was asked {outcome.asked} times, and {mutant} answered each time as "
                f"{self.reference.__name__} does. The scene must bring a node to the point where "
                "the two decide differently.",
            ]
            record, parts = outcome.trace[-1] if len(outcome.trace) else None, []
        else:
            first = outcome.first
            record, parts = outcome.trace[first.seq], window(outcome.trace, first.seq)
            why = [f"You are near. After record {first.seq} at {record.time:.4f} s, {first}."]
            why.append(
                "But nothing came of it: let the wrong answers arrive, and let them suffice."
            )
        if self.hint:
            why.append(self.hint)
        return Judgement(self.name, False, title, why, "", rule, record, parts)

    def _raised(self, outcome: Outcome) -> Judgement:
        error = outcome.error
        what = (
            str(error)
            if isinstance(error, (Spent, ScriptError))
            else f"{type(error).__name__}: {error}"
        )
        where = blame(error)
        why = [f"It came up {where}." if where else "The scene was played with the mutant."]
        return Judgement(self.name, False, f"The scene does not play to its end: {what}", why)

    def _play(self, scene: Any, cls: type[Raft]) -> Outcome:
        watch = Watch(cls, (self.mutant.rule,))
        if isinstance(scene, str):
            return self._play_text(scene, watch)
        cluster = BoundedCluster(self.size, self.seed, RaftConfig(), watch.watched)
        watch.cluster = cluster
        outcome = Outcome("yours", self.seed, cluster.trace)
        try:
            bounded(scene, cluster)
            cluster.run(2.0)  # let what is on its way arrive
        except Violation as violation:
            outcome.broken = verdict_of(violation)
        except (*HALTS, Exception) as error:
            outcome.error = error
        if isinstance(outcome.error, TimedOut) and watch.differences:
            outcome.error = None  # it waited for a leader that its own faults prevent: no mistake
        outcome.trace, outcome.asked, outcome.differences = (
            cluster.trace,
            watch.asked,
            watch.differences,
        )
        return outcome

    def _play_text(self, text: str, watch: Watch) -> Outcome:
        outcome = Outcome("yours", 0, Trace())
        try:
            playback = bounded(play, text, watch.watched)
        except (*HALTS, Exception) as error:
            outcome.error = error
            return outcome
        return _of_playback(outcome, playback, watch)


def _of_playback(outcome: Outcome, playback: Playback, watch: Watch) -> Outcome:
    if playback.trace is None:
        outcome.error = ScriptError(1, "the transcript makes no cluster; begin with `cluster 5`")
        return outcome
    outcome.trace, outcome.asked = playback.trace, watch.asked
    broken = playback.verdicts().broken
    outcome.broken = broken[0] if broken else None
    return outcome


def _is_empty(scene: Any) -> bool:
    """Whether nothing is written yet: no text, or a function whose body is `pass` or `...`."""
    if isinstance(scene, str):
        return not scene.strip()
    if not inspect.isfunction(scene):
        return False
    try:
        body = ast.parse(source_of(scene)).body[0].body
    except (SyntaxError, IndexError, AttributeError):
        return False
    return all(
        isinstance(part, ast.Pass)
        or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        for part in body
    )
