from __future__ import annotations

from pathlib import Path

from bench.fresh.checkout import environment


def test_caches_are_empty_and_settings_are_left_out(tmp_path: Path) -> None:
    inherited = {
        "PATH": "/bin",
        "UV_CACHE_DIR": "/root/.cache/uv",
        "UV_INDEX": "an-index",
        "CONVICTION_MARKET": "sample",
        "MAKEFLAGS": "-j4",
        "PORT": "8080",
    }
    found = environment(tmp_path, inherited)
    assert found["PATH"] == "/bin"
    assert found["UV_INDEX"] == "an-index"
    assert found["UV_CACHE_DIR"] == str(tmp_path / "cache/uv")
    assert not found.keys() & {"CONVICTION_MARKET", "MAKEFLAGS", "PORT"}
