"""Predictions: made with or without widgets, revealed once, and counted."""

from __future__ import annotations

import builtins

import pytest

from kvlearn.course import calibration, predict, predictions
from kvlearn.course.predictions import Book

OPTIONS = ["n1", "n2", "n3"]


@pytest.fixture(autouse=True)
def book(monkeypatch):
    """A session without predictions."""
    monkeypatch.setattr(predictions, "BOOK", Book())


def test_a_prediction_as_an_argument_is_revealed_at_once():
    asked = predict("Who?", OPTIONS, answer="n3", sure=0.8)
    assert asked.right is None
    told = str(asked.reveal("n3", because="n3 asked first."))
    assert asked.right is True
    assert told.splitlines()[0] == "✓ You predicted “n3”, 80% sure, and so it was."
    assert "n3 asked first." in told


def test_a_wrong_one_is_told_what_it_was():
    told = predict("Who?", OPTIONS, answer="n3", sure=0.9).reveal("n1")
    assert str(told) == "✗ You predicted “n3”, 90% sure. It was “n1”."
    assert "It was “n1”" in told._repr_html_()


def test_without_a_prediction_the_page_keeps_the_outcome_folded():
    told = predict("Who?", OPTIONS).reveal("n2", because="n2 was first.")
    assert str(told).startswith("○ No prediction made. It was “n2”.")
    head, fold, rest = told._repr_html_().partition("<details")
    assert "No prediction made" in head and "n2" not in head and "n2" in rest
    assert predictions.BOOK.made == {}


def test_answers_are_options_and_sureness_is_a_probability():
    with pytest.raises(ValueError, match="none of the options, which are n1, n2, n3"):
        predict("Who?", OPTIONS, answer="n4")
    with pytest.raises(ValueError, match="0 .not at all. to 1"):
        predict("Who?", OPTIONS, answer="n1", sure=80)
    with pytest.raises(ValueError, match="none of the options"):
        predict("Who?", OPTIONS).reveal("n4")


def test_options_need_not_be_text():
    assert predict("How many?", [1, 2, 3], answer=2).reveal(2).prediction.right


def test_the_widget_notes_what_is_chosen_until_it_is_revealed():
    asked = predict("Who?", OPTIONS)
    data, _ = asked._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data and "text/html" in data
    asked._choice.value = "n2"
    asked._slider.value = 0.95
    assert (asked.answer, asked.sure) == ("n2", 0.95)
    assert "Noted: “n2”, 95%" in asked._line.value
    asked.reveal("n1")
    assert asked._choice.disabled and asked._slider.disabled
    asked._choice.value = "n1"
    assert asked.answer == "n2" and asked.right is False


def test_who_answers_late_may_reveal_again():
    asked = predict("Who?", OPTIONS)
    asked._repr_mimebundle_()
    assert "No prediction made" in str(asked.reveal("n1"))
    assert not asked._choice.disabled
    asked._choice.value = "n1"
    assert str(asked.reveal("n1")).startswith("✓") and asked._choice.disabled


def test_a_widget_shows_an_answer_that_was_an_argument():
    asked = predict("Who?", OPTIONS, answer="n3", sure=0.6)
    asked._repr_mimebundle_()
    assert asked._choice.value == "n3" and asked._slider.value == 0.6


def test_static_pages_and_kernels_without_widgets_get_text(monkeypatch):
    monkeypatch.setenv("KVLEARN_STATIC", "1")
    assert set(predict("Who?", OPTIONS)._repr_mimebundle_()) == {"text/plain", "text/html"}
    monkeypatch.delenv("KVLEARN_STATIC")
    load = builtins.__import__

    def refuse(name, *rest, **more):
        if name.startswith("ipywidgets"):
            raise ImportError(name)
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    bundle = predict("Who?", OPTIONS)._repr_mimebundle_()
    assert "(1) n1; (2) n2; (3) n3" in bundle["text/plain"]


def test_calibration_compares_sureness_with_luck():
    assert "No prediction" in str(calibration())
    for number in range(4):
        told = predict(f"Question {number}?", OPTIONS, answer="n1", sure=0.9)
        told = told.reveal("n1" if number == 0 else "n2")
    told = " ".join(str(told).split())
    assert "1 of 4 predictions right (25%), and you were 90% sure on average" in told
    assert "surer than you are right" in told
    assert str(calibration()).count("n2") == 3 and "Question 3?" in calibration()._repr_html_()


@pytest.mark.parametrize(
    ("sure", "verdict"), [(0.5, "right more often than you think"), (0.95, "about as sure")]
)
def test_who_is_right_is_told_so(sure, verdict):
    for number in range(3):
        told = predict(f"Question {number}?", OPTIONS, answer="n1", sure=sure).reveal("n1")
    assert verdict in " ".join(str(told).split())


def test_a_question_asked_again_counts_once():
    for answer in ("n1", "n2", "n3"):
        predict("Who?", OPTIONS, answer=answer).reveal("n3")
    assert len(predictions.BOOK.made) == 1 and predictions.BOOK.made["Who?"].right
