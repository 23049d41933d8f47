"""What all tests share: the options that rewrite recorded files, and no skipped test in CI."""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that rewrite what was recorded."""
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite tests/golden/*/children.yaml and tests/data/guide",
    )
    parser.addoption("--update-refusals", action="store_true", help="rewrite tests/data/refusals.json")
    parser.addoption("--update-verdicts", action="store_true", help="rewrite tests/data/verdicts/*.json")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI set, fail a run in which a test was skipped: it is a promise that nobody has checked."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
