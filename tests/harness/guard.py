"""Becomes another program that the kernel kills when the process that started it dies.

A small program of its own, because `preexec_fn` is unsafe (and warned about) in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Replace this process: the first argument is the expected parent's id, the rest the command."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the kernel was told to watch it.
    if os.getppid() != parent:
        sys.exit("the process that asked for this one is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
