"""An older commit of this repository, unpacked beside it."""

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.harness.binaries import REPOSITORY

FIRST_CHART = "706280e4e7e68fa15a6e2e72dfbea0876e0d027a"
"""The first commit that holds a chart: nothing older can be installed, and so be upgraded from."""


class Past:
    """The chart and the operator of a commit, in a folder that goes away at the end; a context manager.

    They come from `git archive` and not from `git worktree`, which would leave its notes in the repository
    when a test run is killed.
    """

    def __init__(self, commit: str = FIRST_CHART):
        """Plan a tree of a commit, given by its full id."""
        self.commit = commit
        self._folder = tempfile.TemporaryDirectory(prefix=f"commit-{commit[:7]}-")

    def __enter__(self) -> "Past":
        """Unpack it. Raises RuntimeError where the clone does not hold the commit."""
        try:
            with tarfile.open(fileobj=io.BytesIO(self._archive())) as tar:
                tar.extractall(self._folder.name, filter="data")
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self._folder.cleanup()

    @property
    def chart(self) -> Path:
        """The chart of that commit."""
        return Path(self._folder.name) / "charts" / "vllm-operator"

    @property
    def source(self) -> Path:
        """The folder that holds the operator's package of that commit."""
        return Path(self._folder.name) / "operator"

    def _archive(self) -> bytes:
        done = subprocess.run(
            ["git", "-C", str(REPOSITORY), "archive", "--format=tar", self.commit, "charts", "operator"],
            capture_output=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"Commit {self.commit} cannot be unpacked: {done.stderr.decode(errors='replace').strip()}. "
                "This test needs a clone with its history: `git fetch --unshallow`"
            )
        return done.stdout
