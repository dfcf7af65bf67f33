"""Predict, then look: a question with options, how sure one is, and what came of it.

What is predicted is remembered better, whether it was right or wrong; and who says how sure they
are learns how far to trust themselves. In a notebook the question has buttons. It never waits:
where nobody answered, `reveal` says so. Without widgets the answer is an argument:

>>> who = predict("Who wins?", ["n1", "n2"], answer="n2", sure=0.8)
>>> print(who.reveal("n1"))
✗ You predicted “n2”, 80% sure. It was “n1”.
>>> print(predict("Who loses?", ["n1", "n2"]).reveal("n1"))
○ No prediction made. It was “n1”.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from typing import Any

from kvlearn.course.page import COLOURS, Card, Fold, Part, Table, Words

CERTAIN, GUESS = 1.0, 0.5  # the ends of the scale that the slider offers


class Prediction:
    """A question, and the prediction once it is made.

    Invariant: once it was made and revealed, neither `answer` nor `sure` changes any more.
    """

    def __init__(
        self, question: str, options: Sequence[str], answer: str | None, sure: float | None
    ):
        self.question = question
        self.options = [str(option) for option in options]
        self.answer: str | None = None
        self.sure = GUESS + 0.25 if sure is None else self._sureness(sure)
        self.actual: str | None = None
        self._widget = None
        if answer is not None:
            self.answer = self._option(answer)

    def _option(self, answer: Any) -> str:
        if str(answer) not in self.options:
            raise ValueError(
                f"{answer!r} is none of the options, which are {', '.join(self.options)}"
            )
        return str(answer)

    @staticmethod
    def _sureness(sure: float) -> float:
        if not 0 <= sure <= 1:
            raise ValueError(f"sure is a number from 0 (not at all) to 1 (certain), not {sure}")
        return float(sure)

    @property
    def right(self) -> bool | None:
        """Whether it came as predicted; None before it was revealed, or without a prediction."""
        return None if self.answer is None or self.actual is None else self.answer == self.actual

    def reveal(self, actual: Any, because: str = "") -> Revelation:
        """What really happened. `actual` is one of the options; `because` says why."""
        came = self._option(actual)
        if self.answer is not None:  # who has not answered yet may still do so, and reveal again
            self.actual = came
            BOOK.note(self)
            if self._widget is not None:
                self._lock()
        return Revelation(self, came, because)

    # Showing ----------------------------------------------------------------------------------

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = {"text/plain": str(self), "text/html": self._static()._repr_html_()}
        widget = None if os.environ.get("KVLEARN_STATIC") == "1" else self._controls()
        if widget is None:
            return bundle
        shown = widget._repr_mimebundle_()
        data, metadata = shown if isinstance(shown, tuple) else (shown, {})
        return {**data, **bundle}, metadata

    def _static(self) -> Card:
        options = "; ".join(f"({place}) {option}" for place, option in enumerate(self.options, 1))
        parts: list[Part] = [Words(options)]
        if self.answer is not None:
            parts.append(Words(f"You predict “{self.answer}”, {self.sure:.0%} sure."))
        return Card("open", f"Predict: {self.question}", parts)

    def __str__(self) -> str:
        return str(self._static())

    __repr__ = __str__

    def _controls(self):
        """Buttons and a slider; None where there is no widget library."""
        if self._widget is not None:
            return self._widget
        try:
            import ipywidgets as w
        except ImportError:
            return None
        wide = w.Layout(width="auto", max_width="60em")
        ask = w.HTML(
            f"<div style='font-weight:600;color:{COLOURS['ink']};line-height:1.5'>"
            f"Predict: {escape(self.question)}</div>"
        )
        self._choice = w.RadioButtons(options=self.options, value=self.answer, layout=wide)
        self._slider = w.FloatSlider(
            value=max(self.sure, GUESS),
            min=GUESS,
            max=CERTAIN,
            step=0.05,
            readout_format=".0%",
            continuous_update=False,
            description="How sure?",
            layout=w.Layout(width="24em"),
        )
        self._line = w.HTML()
        self._choice.observe(self._chosen, "value")
        self._slider.observe(self._chosen, "value")
        self._widget = w.VBox(
            [ask, self._choice, self._slider, self._line], layout=w.Layout(padding="4px 0")
        )
        self._widget.add_class("kvlearn-prediction")
        self._say()
        if self.actual is not None:
            self._lock()
        return self._widget

    def _chosen(self, _) -> None:
        if self.actual is None:
            self.answer, self.sure = self._choice.value, self._slider.value
        self._say()

    def _say(self) -> None:
        made = self.answer is not None
        told = (
            f"Noted: “{self.answer}”, {self.sure:.0%} sure."
            if made
            else "Choose one; it is noted at once."
        )
        tone = COLOURS["ink" if made else "dim"]
        self._line.value = f"<span style='color:{tone}' aria-live='polite'>{escape(told)}</span>"

    def _lock(self) -> None:
        self._choice.disabled = self._slider.disabled = True


class Revelation:
    """What came of a prediction. Where none was made, the page keeps the outcome folded."""

    def __init__(self, prediction: Prediction, came: str, because: str):
        self.prediction, self.came, self.because = prediction, came, because
        self.so_far = BOOK.sentence() if prediction.answer is not None else ""

    def _repr_html_(self) -> str:
        p = self.prediction
        if p.answer is None:
            inside = Words(f"It was “{self.came}”. {self.because}".strip()).html()
            ask = "No prediction made. Choose an answer above and run this cell again, or look:"
            return Card("open", ask, [Fold("what happened", inside)])._repr_html_()
        return Card(self._mood(), self._title(), self._parts())._repr_html_()

    def __str__(self) -> str:
        return str(Card(self._mood(), self._title(), self._parts()))

    __repr__ = __str__

    def _mood(self) -> str:
        return {True: "good", False: "fault", None: "open"}[self.prediction.right]

    def _title(self) -> str:
        p = self.prediction
        if p.answer is None:
            return f"No prediction made. It was “{self.came}”."
        sure = f"{100 * p.sure:.0f}% sure"
        if p.right:
            return f"You predicted “{p.answer}”, {sure}, and so it was."
        return f"You predicted “{p.answer}”, {sure}. It was “{self.came}”."

    def _parts(self) -> list[Part]:
        parts: list[Part] = [Words(self.because)] if self.because else []
        if self.so_far:
            parts.append(Words(self.so_far, dim=True))
        return parts


class Book:
    """The predictions of this session that were revealed, the last one of each question."""

    def __init__(self) -> None:
        self.made: dict[str, Prediction] = {}

    def note(self, prediction: Prediction) -> None:
        """Remember a prediction that was revealed; one that was not made is no prediction."""
        if prediction.answer is not None:
            self.made[prediction.question] = prediction

    def sentence(self) -> str:
        """How sure and how right so far; empty with fewer than two predictions."""
        made = list(self.made.values())
        if len(made) < 2:
            return ""
        right = sum(bool(p.right) for p in made)
        sure = 100 * sum(p.sure for p in made) / len(made)
        hit = 100 * right / len(made)
        gap = sure - hit
        verdict = "about as sure as you are right" if abs(gap) <= 10 else (
            "surer than you are right" if gap > 0 else "right more often than you think"
        )  # fmt: skip
        return (
            f"So far: {right} of {len(made)} predictions right ({hit:.0f}%), and you were "
            f"{sure:.0f}% sure on average: {verdict}."
        )

    def card(self) -> Card:
        """All of them, as a table."""
        if not self.made:
            return Card("open", "No prediction has been revealed yet")
        rows = [
            (
                p.question,
                p.answer or "",
                f"{100 * p.sure:.0f}%",
                p.actual or "",
                "✓" if p.right else "✗",
            )
            for p in self.made.values()
        ]
        head = ("question", "you said", "sure", "it was", "")
        return Card("plain", "Your predictions", [Table(head, rows), Words(self.sentence())])


BOOK = Book()


def predict(
    question: str, options: Sequence[str], answer: str | None = None, sure: float | None = None
) -> Prediction:
    """Ask for a prediction. `answer` and `sure` (0 to 1) make it at once, without widgets.

    Raises: ValueError for an answer that is no option, or a sureness that is no probability.
    """
    return Prediction(question, options, answer, sure)


def calibration() -> Card:
    """The predictions of this session: how sure, and how right."""
    return BOOK.card()
