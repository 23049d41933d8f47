"""What ends a program for pods without success: reasons for programs, sentences with a remedy for people."""

import errno
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from .log import masked, note, report

EXIT_DONE = 0
EXIT_UNEXPECTED = 70
"""Nobody foresaw it: worth another try."""
EXIT_PASSING = 75
"""The hub cannot be reached now: worth another try."""
EXIT_ACT = 78
"""No other try helps until somebody acts."""
EXIT_TERMINATED = 143
"""SIGTERM came. What has been downloaded is kept; the next run goes on from there."""

FULL = {errno.ENOSPC, errno.EDQUOT}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
LITTLE = 1 << 20
"""Bytes: a volume with less counts as full."""
LONGEST_MESSAGE = 600
"""Characters; Kubernetes cuts a report off at 4096 bytes, and JSON may write six for one."""


class Failure(Exception):  # noqa: N818 - it is told to people as it stands
    """Why it did not work: a reason for programs, a sentence with a remedy for people."""

    def __init__(self, reason: str, message: str, wait: float = 0, *, final: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.wait = wait
        """Seconds after which the hub wants to be asked again."""
        self.final = final
        """No other try helps, whatever the reason says in general."""


def is_full(folder: str, little: int = LITTLE) -> bool:
    """Whether nothing more can be written there. Some network file systems say so only to who writes."""
    volume = os.statvfs(folder)
    if volume.f_blocks and volume.f_bavail * volume.f_frsize < little:
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as handle:
            handle.write(bytes(LITTLE))
    except OSError as error:
        return error.errno in FULL
    return False


def cache_full(words: str) -> Failure:
    """The volume has no more space."""
    remedy = "Give its claim more space (spec.cache.size of a server may grow), or remove unused models."
    return Failure("CacheFull", f"The cache is full ({words}). {remedy}")


def of_system(error: BaseException, home: str) -> Failure | None:
    """What an error of the volume means, if it is one. `home` is named where the error names no file."""
    if not isinstance(error, OSError):
        return None
    if error.errno in FULL:
        return cache_full(str(error.strerror))
    if error.errno in DENIED:
        return Failure("CacheNotReadable", _denied(error, home))
    return None


def _denied(error: OSError, home: str) -> str:
    path = str(error.filename or home)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if error.errno == errno.EROFS:
        return (
            f"{path} would have to be written, and is mounted read-only: the cache does not hold all that is "
            "needed. Fill it, or give a claim that can be written."
        )
    owner = os.lstat(path)
    return (
        f"uid {os.getuid()} may not use {path}: it belongs to uid {owner.st_uid}, gid {owner.st_gid}, mode "
        f"{owner.st_mode & 0o7777:04o}. Give the volume's files to uid {os.getuid()} (chown -R), or set "
        "spec.cache.fsGroup to a group that may read and write them."
    )


def end_on_sigterm(*_: Any) -> None:
    """Handle SIGTERM: the first process of a container is ended by no signal that it does not handle."""
    os._exit(EXIT_TERMINATED)


def listen() -> None:
    """From now on SIGTERM ends us, also while imports take their second."""
    signal.signal(signal.SIGTERM, end_on_sigterm)


def conclude(
    path: str,
    work: Callable[[], Mapping[str, Any]],
    understood: Callable[[BaseException], Failure],
    exits: Mapping[str, int],
) -> int:
    """Do the work, report what it gives or why it failed, and return the exit code."""
    try:
        report(path, work())
    except Exception as error:
        failure = understood(error)
        message = masked(failure.message)[:LONGEST_MESSAGE]
        report(path, {"reason": failure.reason, "message": message})
        note(f"{failure.reason}: {message}")
        code = EXIT_ACT if failure.final else exits.get(failure.reason, EXIT_ACT)
        if code == EXIT_UNEXPECTED:
            print(*map(masked, traceback.format_exc().splitlines()), sep="\n", file=sys.stderr)
        return code
    return EXIT_DONE
