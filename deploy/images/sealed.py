"""A container from kernel namespaces: a read-only root, few mounts, its own process tree, no capabilities."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MOUNTS = """
mount --rbind "$root" "$root"
mount --options remount,bind,ro "$root"
mount --types tmpfs --options nosuid,nodev tmpfs "$root/tmp"
mount --types tmpfs --options nosuid,nodev tmpfs "$root/run"
mount --types proc proc "$root/proc"
mount --rbind /dev "$root/dev"
if [ -n "$secrets" ]; then
    mkdir "$root/run/secrets"
    mount --bind "$secrets" "$root/run/secrets"
    mount --options remount,bind,ro "$root/run/secrets"
fi
mount --options remount,ro "$root/run"
exec env --ignore-environment "$(command -v chroot)" "$root" "$@"
"""


@dataclass(frozen=True)
class Sealed:
    """A root file system to run a command in, with the host's network and host name and without cgroup limits."""

    root: Path
    workdir: str
    user: str
    """Numeric uid or uid:gid."""
    environment: Mapping[str, str]
    secrets: Path | None

    def start(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start the command as the first process of a separate PID namespace, as in a container."""
        uid, _, gid = self.user.partition(":")
        given = [f"{name}={value}" for name, value in self.environment.items()]
        who = ["--reuid", uid, "--regid", gid or uid, "--clear-groups"]
        none = ["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        inside = ["/usr/bin/setpriv", *who, *none, "/usr/bin/env", "--chdir", self.workdir, *given, *command]
        apart = ["unshare", "--mount", "--pid", "--ipc", "--fork"]
        with log.open("wb") as file:
            return subprocess.Popen(
                [*apart, "sh", "-euc", MOUNTS, "sh", *inside],
                env={**os.environ, "root": str(self.root), "secrets": str(self.secrets or "")},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @staticmethod
    def send_signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        """Signal the namespace's first process; the kernel ends all others with it.

        `unshare` does not forward signals, and a change of user clears the parent-death signal.
        """
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for child in children.read_text().split() if process.poll() is None else ():
            os.kill(int(child), number)
