"""Colours, sizes and fonts of every picture: one place, so that no two pictures can differ.

A *term* has a colour: Okabe and Ito's palette, which people with any kind of colour vision can
tell apart, by term modulo its length; neighbours in it are far apart. Colour is never alone: the
term's number stands beside it.

>>> term_colour(2) == term_colour(2 + len(PALETTE)), term_colour(0) == term_colour(1)
(True, False)

A *tone* is a colour that depends on the page: text, surface, lines. In a page a tone is a CSS
variable that follows JupyterLab's theme (then VS Code's, then a Sphinx book's, then the page's own
text colour); in a saved file it is a literal. `THEME` is all of it as plain JSON data; the panels'
JavaScript draws with the same numbers.

Source: M. Okabe, K. Ito, Color Universal Design (2008); WCAG 2.2, 1.4.3 (contrast of text).
"""

from __future__ import annotations

from functools import cache

# By term modulo 7. Black, the eighth colour of the palette, is left out: it is the text's.
PALETTE = (
    "#D55E00",  # vermillion: terms 7, 14, ...
    "#56B4E9",  # sky blue: term 1
    "#E69F00",  # orange
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#F0E442",  # yellow
    "#0072B2",  # blue
)
NEUTRAL = "#B8BEC6"  # term 0: before the first election

# tone -> (CSS in a page, literal on the light card, literal on the dark card)
TONES: dict[str, tuple[str, str, str]] = {
    "ink": (
        "var(--jp-content-font-color1,var(--vscode-editor-foreground,"
        "var(--pst-color-text-base,currentColor)))",
        "#1F2328",
        "#E8EAED",
    ),
    "dim": (
        "var(--jp-content-font-color2,var(--vscode-descriptionForeground,"
        "var(--pst-color-text-muted,#6E7781)))",
        "#5F6670",
        "#A9B0B8",
    ),
    "line": (
        "var(--jp-border-color1,var(--vscode-editorWidget-border,var(--pst-color-border,#B4BAC2)))",
        "#B4BAC2",
        "#5A626B",
    ),
    "faint": (
        "var(--jp-border-color2,var(--vscode-editorWidget-border,var(--pst-color-border,#D5D9DE)))",
        "#DDE1E6",
        "#3C434B",
    ),
    "surface": (
        "var(--jp-layout-color1,var(--vscode-editor-background,"
        "var(--pst-color-background,Canvas)))",
        "#FFFFFF",
        "#16191D",
    ),
    "sunken": (
        "var(--jp-layout-color2,var(--vscode-sideBar-background,"
        "var(--pst-color-surface,rgba(127,127,127,.12))))",
        "#F1F3F5",
        "#22272D",
    ),
    "fault": ("var(--jp-error-color1,#D1242F)", "#C4202B", "#FF7B72"),
    "good": ("var(--jp-success-color1,#2DA44E)", "#1A7F37", "#56D364"),
    # Of the store: the blue tree (key -> revisions), and what a lease holds.
    "index": ("var(--jp-brand-color1,#2F7DD1)", "#1F6FC4", "#6CB6FF"),
    "lease": ("#8A63D2", "#7A4FC9", "#B794F6"),
}

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',sans-serif"
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
FONT_CSS = f"var(--jp-ui-font-family,{FONT})"
MONO_CSS = f"var(--jp-code-font-family,{MONO})"

# Sizes in SVG user units, which are CSS pixels at natural size.
SIZES = {
    "text": 12.5,  # sentences and labels
    "small": 11,  # second lines, ticks, terms
    "name": 16,  # a node's name in its disc
    "node_r": 33,  # a node's disc
    "ring_gap": 4,  # between the two rings of a leader
    "timer_r": 42,  # the arc of the election timer
    "timer_width": 3.5,
    "dot_r": 6.5,  # a message
    "lane": 8,  # messages keep this far right of the line between two nodes
    "cell_h": 38,  # a log entry
    "cell_gap": 4,
    "cell_min": 54,
    "cell_max": 118,
}

ROLES = {  # how the ring around a node is drawn; see the grammar of the pictures
    "leader": {"ring": "double", "dash": ""},
    "candidate": {"ring": "single", "dash": "6 4"},
    "follower": {"ring": "single", "dash": ""},
    "learner": {"ring": "single", "dash": "0.1 5"},
    "outside": {"ring": "none", "dash": ""},  # no member: pale, and no lines to the others
    "down": {"ring": "single", "dash": ""},
    "paused": {"ring": "single", "dash": ""},
}

# A crown around (0, 0), 20 wide and 13 high; the panels draw the same one.
CROWN = "M-10,-4.5 L-5,-0.5 L0,-7 L5,-0.5 L10,-4.5 L8,6 L-8,6 Z"


def term_colour(term: int) -> str:
    """The colour of a term, as `#RRGGBB`."""
    return NEUTRAL if term <= 0 else PALETTE[term % len(PALETTE)]


@cache
def text_on(colour: str) -> str:
    """Black or white, whichever reads better on `colour` (contrast at least 4.5)."""
    on_dark, on_light = contrast(colour, "#FFFFFF"), contrast(colour, "#101418")
    return "#FFFFFF" if on_dark > on_light else "#101418"


def contrast(one: str, other: str) -> float:
    """The contrast of two `#RRGGBB` colours as WCAG defines it, from 1 to 21."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def tone(name: str) -> str:
    """How a drawing names a tone; `Svg` turns it into what page or file need.

    Raises: KeyError for an unknown tone.
    """
    TONES[name]  # a misspelt tone would be drawn as black
    return f"var(--kv-{name})"


THEME: dict = {
    "palette": list(PALETTE),
    "text_on": [text_on(colour) for colour in PALETTE],
    "neutral": NEUTRAL,
    "text_on_neutral": text_on(NEUTRAL),
    "tones": {name: css for name, (css, _, _) in TONES.items()},
    "font": FONT_CSS,
    "mono": MONO_CSS,
    "sizes": dict(SIZES),
    "roles": {role: dict(style) for role, style in ROLES.items()},
    "crown": CROWN,
}
