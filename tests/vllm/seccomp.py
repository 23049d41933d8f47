"""A filter of system calls that stands for the runtime's default profile.

That profile allows a list and refuses the rest; this filter refuses what model servers are known to try and
an unprivileged container may not do: placing memory on NUMA nodes, io_uring, namespaces, tracing of the
kernel. Source: contrib/seccomp/seccomp_default.go of containerd, which names none of these for a container
without capabilities.
"""

import errno
import platform
import struct

REFUSED = {
    "x86_64": {
        "mbind": 237,
        "set_mempolicy": 238,
        "get_mempolicy": 239,
        "migrate_pages": 256,
        "unshare": 272,
        "move_pages": 279,
        "perf_event_open": 298,
        "setns": 308,
        "bpf": 321,
        "io_uring_setup": 425,
    },
    "aarch64": {
        "unshare": 97,
        "mbind": 235,
        "get_mempolicy": 236,
        "set_mempolicy": 237,
        "migrate_pages": 238,
        "move_pages": 239,
        "perf_event_open": 241,
        "setns": 268,
        "bpf": 280,
        "io_uring_setup": 425,
    },
}
"""Numbers of system calls, by machine (linux/unistd.h)."""

_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM


def program() -> bytes:
    """The filter for this machine, as bubblewrap reads it (linux/filter.h, struct sock_filter)."""
    numbers = sorted(REFUSED[platform.machine()].values())
    steps = [(_LOAD, 0, 0, 0)]  # the number stands at the beginning of struct seccomp_data
    steps += [(_JUMP_IF_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
