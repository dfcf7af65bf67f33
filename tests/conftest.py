"""What every test shares: in CI a test that cannot run has failed."""

from __future__ import annotations

import importlib.util
import os

import pytest

STRICT = os.environ.get("KVLEARN_CI") == "1"  # set by .ci/run, where everything is installed


def pytest_addoption(parser):
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write what happened into tests/transcripts/*.txt; review the diff",
    )
    parser.addoption(
        "--etcd-operations",
        type=int,
        default=20_000,
        help="how many random operations kvlearn and etcd have to agree on (20000)",
    )
    parser.addoption(
        "--etcd-seed",
        help="run only this random program against etcd: a number, or the name it was reported by",
    )


def pytest_configure(config):
    """Without lmdb a room's doctests cannot even be imported; its tests skip themselves."""
    if not STRICT and importlib.util.find_spec("lmdb") is None:
        live = config.rootpath / "kvlearn" / "live" / "lmdb_backend.py"
        config.option.ignore = [*(config.option.ignore or ()), str(live)]


def _convict(report) -> None:
    """Turn a skip into a failure: CI must not be green because the browser was missing."""
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"KVLEARN_CI=1 allows no skips. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A skipped test."""
    report = yield
    _convict(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """A module that skips itself while it is collected."""
    report = yield
    _convict(report)
    return report
