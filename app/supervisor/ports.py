"""Ports to listen on, checked before any program is started."""

from __future__ import annotations

import errno
import socket

from app.supervisor.failures import CannotUse


def available_port(host: str, port: int, variable: str = "") -> int:
    """Return the port, or a free one for 0. Raises `CannotUse`, naming the variable, if it cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                why = f"port {port} of {host} is taken by another program"
            else:
                why = f"port {port} of {host} cannot be listened on: {error.strerror}"
            raise CannotUse(f"{why}; {variable} chooses another") from None
        number: int = probe.getsockname()[1]
        return number
