"""A real JupyterLab and a real browser for tests: how to start them, open a notebook, look.

Nothing here waits for a length of time; everything waits for something to be so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("KVLEARN_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BENCH = '[data-kv-panel="bench"]'
STARTED = """[...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')]
    .some(prompt => /[*\\d]/.test(prompt.textContent))"""  # [*] or [1]: some cell runs or has run
PATIENCE_MS = 60_000  # a loaded machine is slow, and a test that waits for a condition can wait


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """JupyterLab on a folder of notebooks; gives its address."""
    home = folder / ".jupyter-home"
    home.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    places = {f"JUPYTER_{kind}_DIR": str(home / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    places["JUPYTER_CONFIG_PATH"] = str(ROOT / "kvlearn" / "cli" / "jupyter")
    environment = {**os.environ, **places, "HOME": str(home), "PATH": path}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0"]
    command += ["--allow-root", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        told = []
        for line in process.stderr:
            told.append(line)
            found = re.search(r"(http://127\.0\.0\.1:\d+)/lab", line)
            if found:
                break
        else:
            raise RuntimeError("JupyterLab did not start:\n" + "".join(told[-20:]))
        threading.Thread(target=process.stderr.read, daemon=True).start()  # or its pipe fills up
        yield found[1]
    finally:
        process.terminate()
        process.wait(30)


def write_notebook(path: Path, *cells: str) -> None:
    """A notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, path)


class Visitor:
    """One page of the browser, open on one notebook, and what went wrong there."""

    def __init__(self, browser, address: str, notebook: str, dark: bool = False, **options):
        options = {"viewport": {"width": 1280, "height": 1000}, **options}
        self.context = browser.new_context(**options)
        self.page = page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        self.errors: list[str] = []
        self.outside: list[str] = []
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._request)
        page.goto(f"{address}/lab/tree/{notebook}?reset", wait_until="domcontentloaded")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        self._theme(dark)
        page.wait_for_function(
            "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'"
        )

    def _request(self, request) -> None:
        here = re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", request.url)
        if not here:
            self.outside.append(request.url)

    def _theme(self, dark: bool) -> None:
        page, name = self.page, "JupyterLab Dark" if dark else "JupyterLab Light"
        page.click("#jp-MainMenu >> text=Settings")
        page.hover(".lm-Menu-item:has-text('Theme')")
        label = f".lm-Menu-itemLabel:text-is('{name}')"
        page.click(f".lm-Menu-item[data-command='apputils:change-theme']:has({label})")
        light = "false" if dark else "true"
        page.wait_for_function(f"document.body.dataset.jpThemeLight === '{light}'")

    def run_all(self) -> float:
        """Run all cells; returns how many seconds it took until the first bench was drawn."""
        from playwright.sync_api import TimeoutError  # where it is missing, tests skip themselves

        page = self.page
        for _ in range(6):  # a notebook whose kernel is not connected yet swallows the command
            self._choose_run_all()
            try:
                page.wait_for_function(STARTED, timeout=PATIENCE_MS / 6)
                break
            except TimeoutError:
                page.keyboard.press("Escape")
        ready = f"{BENCH} [data-kv-node], [data-mime-type$='stderr'], .jp-mod-error"
        page.wait_for_selector(ready, state="attached")
        if not page.locator(f"{BENCH} [data-kv-node]").count():
            raise AssertionError(page.locator(".jp-OutputArea-output").all_inner_texts())
        took = page.evaluate("(performance.now() - window.kvStart) / 1000")
        self.bench = page.locator(BENCH).first
        self.bench.scroll_into_view_if_needed()
        return took

    def _choose_run_all(self) -> None:
        page = self.page
        # "Run all" is about the notebook that has the focus.
        page.click(".jp-Notebook .jp-CodeCell >> nth=0 >> .jp-InputArea-editor")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell .cm-focused")
        page.click("#jp-MainMenu >> text=Run")
        page.evaluate("window.kvStart = performance.now()")
        page.click(".lm-Menu-item[data-command='runmenu:run-all']")

    def until(self, condition: str, arg=None) -> None:
        """Wait until a JavaScript condition on the bench `b` (and `arg` `a`) holds."""
        self.page.wait_for_function(
            f"a => {{ const b = document.querySelector('{BENCH}'); return {condition}; }}", arg=arg
        )

    def look(self, expression: str, arg=None):
        """Evaluate JavaScript on the bench `b`."""
        return self.bench.evaluate(f"(b, a) => {expression}", arg)

    @property
    def leader(self) -> str:
        return self.bench.get_attribute("data-kv-leader")

    def press(self, action: str, target: str | None = None) -> None:
        """Click a control, found by its hooks."""
        aim = f'[data-kv-target="{target}"]' if target else ""
        self.bench.locator(f'[data-kv-action="{action}"]{aim}').click()

    def node(self, name: str):
        return self.bench.locator(f'[data-kv-node="{name}"]')

    def tab_to(self, selector: str) -> None:
        """Press Tab until the focus is on what the selector finds."""
        for _ in range(60):
            if self.page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not lead to {selector}")

    def close(self) -> None:
        self.context.close()
