"""Markup, text measures, free places, and the three forms of a picture."""

import json
import re
from xml.etree import ElementTree

import pytest

from kvlearn.viz import theme
from kvlearn.viz.svg import (
    Box,
    Room,
    Svg,
    el,
    esc,
    first_free,
    fit,
    label,
    line_boxes,
    num,
    text_box,
    width,
    wrap,
)


@pytest.fixture
def picture():
    body = label(5, 15, "<n1> & \x00", data_kv_node="n1") + el("path", d="M0,0", title="“”")
    hooks = {"data_kv_leader": "n1"}
    return Svg("ring", body, 100, 40, "a <title>", "says & tells", "n1 leads", hooks)


def test_what_text_holds_cannot_become_markup():
    hostile = '<script>alert("1")</script>&\x00\x1b\ud800\uffff\n\t'
    told = esc(hostile)
    assert "<" not in told and '"' not in told and "\x00" not in told and "\n" not in told
    parsed = ElementTree.fromstring(el("text", hostile, data_kv_x=hostile))
    assert parsed.text.startswith("<script>") and len(parsed) == 0
    assert parsed.get("data-kv-x") == parsed.text


@pytest.mark.parametrize(
    ("number", "text"), [(1.0, "1"), (1.005, "1"), (0.126, "0.13"), (-0.001, "0"), (-2.5, "-2.5")]
)
def test_numbers_are_short(number, text):
    assert num(number) == text


def test_attributes_are_left_out_when_none():
    assert (
        el("g", a=None, class_="x", data_kv_role="leader") == '<g class="x" data-kv-role="leader"/>'
    )


def test_the_three_forms(picture):
    bundle = picture._repr_mimebundle_()
    assert bundle["text/plain"] == "n1 leads" == repr(picture)
    assert bundle["image/svg+xml"] == picture._repr_svg_()
    for form in ("text/html", "image/svg+xml"):
        root = ElementTree.fromstring(bundle[form])
        assert root.get("role") == "img" and root.get("data-kv-leader") == "n1"
        assert root[0].tag.endswith("title") and root[0].text == "a <title>"
        assert root[1].tag.endswith("desc") and root[1].text == "says & tells"


def test_a_page_gets_variables_and_a_file_gets_colours(picture):
    assert "var(--jp-content-font-color1" in picture.html()
    for dark in (False, True):
        card = picture.svg(dark)
        assert "var(" not in card
        assert theme.TONES["ink"][2 if dark else 1] in card
        assert theme.TONES["surface"][2 if dark else 1] in card


def test_pictures_have_no_ids_and_load_nothing(picture):
    for markup in (picture.html(), picture.svg()):
        assert not re.search(r"\bid=|url\(|href|<style|<script", markup)
        assert markup.count("http") == 1  # the name space


def test_save(picture, tmp_path):
    picture.save(tmp_path / "light.svg")
    picture.save(tmp_path / "dark.svg", dark=True)
    assert (tmp_path / "light.svg").read_text(encoding="utf-8") == picture.svg()
    assert (tmp_path / "dark.svg").read_text(encoding="utf-8") == picture.svg(dark=True)


def test_an_unknown_tone_is_a_mistake():
    with pytest.raises(KeyError):
        label(0, 0, "x", tone="inc")


@pytest.mark.parametrize("room", [5, 20, 50, 100, 300])
def test_shortened_text_fits(room):
    text = "put a-long-key=a-long-value-漢字"
    short = fit(text, room)
    assert short == "…" or width(short) <= room
    assert short == text or "…" in short
    assert fit("", 0) == ""


def test_digits_are_wider_than_letters():
    assert width("1000100000001", 10) > width("aaaaaaaaaaaaa", 10)


def test_wrapped_text_fits_and_says_that_it_goes_on():
    text = "because n1 receives Ack 2 from n3, because n3 sends Ack 2 to n1, because of much more"
    lines = wrap(text, 160, lines=2)
    assert len(lines) == 2 and all(width(line) <= 160 for line in lines)
    assert lines[-1].endswith("…")
    assert " ".join(wrap(text, 160, lines=9)) == text
    assert wrap("", 100) == []


def test_labels_find_a_free_place():
    room = Room([Box(0, 0, 100, 20)])
    assert not room.free([Box(90, 10, 120, 30)]) and room.free([Box(100, 0, 120, 20)])
    tries = [[Box(0, 0, 10, 10)], [Box(0, 30, 10, 40)]]
    assert first_free(tries, room) == 1
    assert first_free(tries, room) is None  # it has taken the place


def test_soft_places_are_avoided_if_possible():
    line = line_boxes((0, 0), (100, 40))
    soft = Room(line)
    on_line, beside = [Box(40, 10, 60, 30)], [Box(40, 60, 60, 70)]
    assert first_free([on_line, beside], Room(), soft) == 1
    assert first_free([on_line], Room(), soft) == 0
    assert first_free([on_line, beside], Room(), soft, own=line) == 0


def test_a_text_box_holds_its_text():
    start, middle, end = (text_box(50, 20, "follower", 12, a) for a in ("start", "middle", "end"))
    assert start.left < 50 < start.right and end.left < 50 <= end.right
    assert middle.left + middle.right == pytest.approx(100)


# The theme --------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", range(0, 30))
def test_text_is_legible_on_every_term(term):
    colour = theme.term_colour(term)
    assert theme.contrast(colour, theme.text_on(colour)) >= 4.5


def test_terms_next_to_each_other_differ():
    for term in range(1, 30):
        assert theme.term_colour(term) != theme.term_colour(term + 1)
        assert theme.term_colour(term) == theme.term_colour(term + 7)


@pytest.mark.parametrize("name", ["ink", "dim", "fault", "good"])
def test_words_are_legible_on_both_cards(name):
    for card in (1, 2):
        text, surface = theme.TONES[name][card], theme.TONES["surface"][card]
        assert theme.contrast(text, surface) >= 4.5


def test_the_theme_is_plain_data_for_javascript():
    assert json.loads(json.dumps(theme.THEME)) == theme.THEME
    assert theme.THEME["palette"] == list(theme.PALETTE)
    assert len(theme.THEME["text_on"]) == len(theme.PALETTE)
    assert set(theme.THEME["roles"]) == {
        "leader", "candidate", "follower", "learner", "outside", "down", "paused"
    }  # fmt: skip
