from __future__ import annotations

import socket

import pytest

from app.supervisor.failures import CannotUse
from app.supervisor.ports import available_port


def test_a_port_that_is_free_is_kept() -> None:
    port = available_port("127.0.0.1", 0, "PORT")
    assert available_port("127.0.0.1", port, "PORT") == port


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(CannotUse, match=f"^port {port} of 127.0.0.1 is taken by another program; PORT chooses"):
            available_port("127.0.0.1", port, "PORT")


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CannotUse, match=r"port 8080 of 192\.0\.2\.1 cannot be listened on"):
        available_port("192.0.2.1", 8080, "PORT")
