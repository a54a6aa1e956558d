"""Runs a command that receives SIGTERM when the process that started it dies.

Run by its path as `python -I parent_death.py PARENT COMMAND…`, not imported: it becomes the command, in the same
process.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def ending_with_parent(*command: str) -> list[str]:
    """Return the command line that runs `command` until this process dies."""
    return [sys.executable, "-I", __file__, str(os.getpid()), *command]


def main() -> None:
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # the parent died before the prctl
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
