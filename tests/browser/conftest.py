"""What the browser tests share: a Chromium, and visitors who must not see an error."""

from __future__ import annotations

import pytest

from tests.browser import lab as tool


# Not for the session: while playwright runs, its event loop is everybody's.
@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=tool.CHROMIUM, args=tool.FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(address, browser):
    """Opens a notebook; afterwards there must be no console error and no request to elsewhere."""
    visitors = []

    def visit(notebook, **options):
        visitors.append(tool.Visitor(browser, address, f"{notebook}.ipynb", **options))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.close()
        assert visitor.errors == []
        assert visitor.outside == []
