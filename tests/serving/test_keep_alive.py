"""`CONVICTION_KEEP_ALIVE_S`: how long an idle connection stays open."""

from __future__ import annotations

import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from tests.test_main import Serving

KEEP_ALIVE_S = 2


def test_a_connection_is_closed_once_it_has_been_idle_that_long(tmp_path: Path) -> None:
    serving = Serving(tmp_path, CONVICTION_KEEP_ALIVE_S=str(KEEP_ALIVE_S))
    with serving.up(), closing(HTTPConnection("127.0.0.1", serving.port, timeout=20)) as connection:
        connection.connect()
        used = connection.sock
        for pause in (0.0, 0.6 * KEEP_ALIVE_S, 0.6 * KEEP_ALIVE_S):
            time.sleep(pause)
            connection.request("GET", "/health/live")
            assert connection.getresponse().read() == b'{"alive":true}'
            assert connection.sock is used
        idle_since = time.monotonic()
        assert used.recv(1) == b""
        assert KEEP_ALIVE_S - 0.2 < time.monotonic() - idle_since < KEEP_ALIVE_S + 10
