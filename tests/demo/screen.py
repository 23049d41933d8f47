"""What the newcomer sees: headings, commands, and what they print."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.harness.binaries import REPOSITORY, find_binary

# More than kubectl is ever told to wait: what it says then is to be seen.
COMMAND_SECONDS = 90.0
# A watch prints what has happened a moment after it has.
DRAIN_SECONDS = 0.5


class DemoError(Exception):
    """The cluster is not in the state that was to be shown."""


class Screen:
    """Runs kubectl in one namespace of one cluster, and a shell, and prints all as a terminal would."""

    def __init__(self, kubeconfig: Path):
        """Talk to the kubeconfig's cluster, in its context's namespace."""
        self._kubectl = find_binary("kubectl")
        # kubectl reads the one of these first, curl the other.
        direct = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), **direct}
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def heading(self, text: str) -> None:
        """Begin a part."""
        print(f"\n{self._styled('1', f'# {text}')}", flush=True)

    def say(self, text: str) -> None:
        """Print a line of the demo's own."""
        print(text, flush=True)

    def checked(self, text: str) -> None:
        """Print what was just seen to be true in the API objects."""
        print(self._styled("32", f"  ✓ {text}"), flush=True)

    def run(self, *words: str, fails: bool = False) -> str:
        """Show and run a kubectl command; its failure must be as announced. Return all that it printed."""
        self._prompt(words)
        code, output = self._execute(words)
        print(output.rstrip(), flush=True)
        if (code != 0) != fails:
            raise DemoError(f"`kubectl {shlex.join(words)}` ended with {code}")
        return output

    def shell(self, lines: str) -> str:
        """Show and run lines of a shell, which must succeed. Return what they print."""
        self._show(lines)
        done = subprocess.run(
            ["bash", "-c", lines],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        print(done.stdout.rstrip(), flush=True)
        if done.returncode:
            raise DemoError(f"`{lines}` ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def background(self, line: str) -> None:
        """Show a line of a shell for what the demo starts itself."""
        self._show(f"{line} &")

    def watch(self, *words: str, until: Callable[[], object]) -> None:
        """Show and run a kubectl command that watches, and interrupt it once `until` has returned."""
        self._prompt(words)
        child = subprocess.Popen(
            [self._kubectl, *words], cwd=REPOSITORY, env=self._environment, stderr=subprocess.STDOUT
        )
        try:
            until()
            time.sleep(DRAIN_SECONDS)
        finally:
            child.terminate()
            child.wait()
        print("^C", flush=True)

    def silently(self, *words: str) -> None:
        """Run a kubectl command that is no part of the show."""
        code, output = self._execute(words)
        if code:
            raise DemoError(f"kubectl {shlex.join(words)} ended with {code}: {output}")

    def _prompt(self, words: Sequence[str]) -> None:
        self._show(f"kubectl {shlex.join(words)}")

    def _show(self, line: str) -> None:
        print(self._styled("36", f"$ {line}"), flush=True)

    def _execute(self, words: Sequence[str]) -> tuple[int, str]:
        done = subprocess.run(
            [self._kubectl, *words],
            cwd=REPOSITORY,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

    def _styled(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colours else text
