"""Addresses to listen on, tried before anything is started."""

from __future__ import annotations

import errno
import socket

from app.supervisor.failures import CannotUse


def settled(host: str, port: int, variable: str) -> int:
    """The port, or any free one for 0. Raises `CannotUse`, naming the variable, where it cannot be listened on."""
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
