"""Child processes that never outlive the Python process that started them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

GUARD = Path(__file__).with_name("guard.py")


def free_ports(count: int) -> list[int]:
    """Return distinct TCP ports that nobody uses on loopback at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Process:
    """One child with a log file; the kernel kills it when its parent dies.

    Start it from a thread that lives as long as the child should: to Linux, that thread is the parent.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ):
        """Describe the child; `environment` replaces the whole environment when given."""
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment) if environment is not None else None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The child's process id."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while the child runs or was never started."""
        return None if self._child is None else self._child.poll()

    @property
    def running(self) -> bool:
        """Whether the child was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start the child in a session of its own, so that a Ctrl-C reaches only the parent."""
        guard = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid())]
        with self.log.open("ab") as output:
            self._child = self._spawn(guard + self._command, output)

    def _spawn(self, command: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child, if it still runs."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def stop(self, patience: float = 10.0) -> int | None:
        """Ask the child to end, kill it after `patience` seconds, and return its exit code."""
        if self._child is None:
            return None
        self.signal(signal.SIGTERM)
        try:
            return self._child.wait(patience)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int | None:
        """Kill the child at once and return its exit code."""
        if self._child is None:
            return None
        self.signal(signal.SIGKILL)
        return self._child.wait()

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of the child's output."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def wait_until(check: Callable[[], bool], watched: Sequence[Process], timeout: float, what: str) -> None:
    """Wait until the check holds; fail with a log's tail when a process ends or `timeout` seconds pass."""
    deadline = time.monotonic() + timeout
    while not check():
        for process in watched:
            if not process.running:
                end = f"{process.name} ended with {process.returncode} before {what}"
                raise RuntimeError(f"{end}; its output ends:\n{process.tail()}")
        if time.monotonic() > deadline:
            tails = "\n".join(f"--- {process.name}\n{process.tail(15)}" for process in watched)
            raise TimeoutError(f"{what}: not within {timeout:.0f} s; the outputs end:\n{tails}")
        time.sleep(0.05)


def children_of(parent: int) -> dict[int, str]:
    """Return the ids and names (at most 15 characters) of a process's children, on Linux."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:
            # It ended while being looked at.
            continue
        if int(fields["PPid"]) == parent:
            found[int(status.parent.name)] = fields["Name"]
    return found
