# SPDX-License-Identifier: Apache-2.0
"""Becomes a server: tie to the parent, give up being root if asked, exec. Run as a script; standard library only.

    python launch.py PARENT_PID STOP_SIGNAL keep|user:UID:GID|drop PROGRAM [ARGUMENT...]

`drop` is for servers that refuse to run as root (Postgres): in a user namespace this process is `nobody` and still owns
and reaches root's files; nothing outside changes. `user:UID:GID` is for where such namespaces are forbidden.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_CLONE_NEWUSER: Final = 0x10000000
NOBODY_UID: Final = 65534
NOBODY_GID: Final = 65534
EXIT_NO_NAMESPACE: Final = 71
"""Exit status: the kernel or the container does not allow user namespaces."""


def enter_user_namespace() -> None:
    """From here on this process is `nobody` to itself and root to the files it owns. OSError if that is forbidden."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for path, line in (
        ("/proc/self/setgroups", "deny"),  # asked for by the kernel before a gid_map may be written
        ("/proc/self/uid_map", f"{NOBODY_UID} {uid} 1"),
        ("/proc/self/gid_map", f"{NOBODY_GID} {gid} 1"),
    ):
        with open(path, "w") as file:  # noqa: PTH123 # pathlib costs 10 ms of start-up here
            file.write(line)


def main(arguments: list[str]) -> None:
    """Do as the module says; does not return."""
    parent_pid, stop_signal, identity, *command = arguments
    if identity == "drop":
        try:
            enter_user_namespace()
        except OSError:
            sys.exit(EXIT_NO_NAMESPACE)
    elif identity.startswith("user:"):
        _, uid, gid = identity.split(":")
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    # After the change of identity, which clears it. The parent may have died in between: then it is no longer ours.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
    if os.getppid() != int(parent_pid):
        sys.exit(0)
    os.umask(0o077)
    os.execv(command[0], command)  # noqa: S606 # no shell, by intention


if __name__ == "__main__":
    main(sys.argv[1:])
