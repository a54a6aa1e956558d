"""The console's page and files as they are served: to whom, as what, for how long."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx
import pytest

from app.api.console import MEDIA_TYPES, read_files
from tests.api.test_bad_input import assert_problem
from tests.doubles import Gateway, gateway

KEY = "ann-key-0123456789abcdef"
FOLDER = Path(__file__).parents[2] / "app" / "console"
NAMES = sorted(path.name for path in FOLDER.iterdir())
EDITION = read_files()[1]
NAMED = re.compile(r'(?:src|href)="(console/[^"]+)"')


async def as_it_stands(running: Gateway, path: str) -> httpx.Response:
    """What is answered to a path that no client has tidied up."""
    request = httpx.Request("GET", running.client.base_url, extensions={"target": path.encode()})
    return await running.client.send(request)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "index.html"])
async def test_a_file_is_served_as_what_it_is_and_kept_for_good(running: Gateway, name: str) -> None:
    response = await running.client.get(f"/console/{EDITION}/{name}")
    assert response.status_code == 200
    assert response.content == (FOLDER / name).read_bytes()
    assert response.headers["content-type"] == MEDIA_TYPES[name.rpartition(".")[2]]
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_the_page_is_asked_about_each_time_and_names_files_that_are_there(running: Gateway) -> None:
    response = await running.client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    named = NAMED.findall(response.text)
    assert len(named) == response.text.count("console/") >= 4
    for path in named:
        assert path.startswith(f"console/{EDITION}/")
        assert (await running.client.get(f"/{path}")).status_code == 200


@pytest.mark.parametrize("path", ["/", f"/console/{EDITION}/main.js"])
async def test_what_a_browser_has_is_not_sent_again(running: Gateway, path: str) -> None:
    first = await running.client.get(path, headers={"Accept-Encoding": "identity"})
    known = {"Accept-Encoding": "identity", "If-None-Match": f'"other", W/{first.headers["etag"]}'}
    again = await running.client.get(path, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = await running.client.get(path, headers=known | {"If-None-Match": '"other"'})
    assert other.content == first.content


async def test_it_is_sent_packed_to_whoever_unpacks(running: Gateway) -> None:
    url = f"/console/{EDITION}/console.css"
    async with running.client.stream("GET", url, headers={"Accept-Encoding": "gzip, br"}) as response:
        packed = b"".join([chunk async for chunk in response.aiter_raw()])
    plain = await running.client.get(url, headers={"Accept-Encoding": "identity"})
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert response.headers["etag"] != plain.headers["etag"]
    assert gzip.decompress(packed) == plain.content
    assert len(packed) < len(plain.content) / 2


@pytest.mark.parametrize("path", ["/", f"/console/{EDITION}/main.js"])
async def test_nothing_runs_but_the_files_and_nobody_else_is_asked(running: Gateway, path: str) -> None:
    headers = (await running.client.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", NAMES)
def test_the_files_keep_to_the_policy(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        'setAttribute("style"',
    ):
        assert forbidden not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"<script(?![^>]* src=)|<style|<[^>]+ (?:style|on\w+)=", text)


@pytest.mark.parametrize(
    "path",
    [
        "/console",
        "/console/",
        f"/console/{EDITION}",
        f"/console/{EDITION}/",
        f"/console/{EDITION}/index.html",
        f"/console/{EDITION}/nothing.js",
        f"/console/{EDITION}/../guard.py",
        f"/console/{EDITION}/..%2f__init__.py",
        f"/console/{EDITION}/%2e%2e/settings.py",
        f"/console/{EDITION}/..%5csettings.py",
        f"/console/{EDITION}/main.js/",
        f"/console/{EDITION}/main.js%00.css",
        "/console/../settings.py",
        "/console/%2e%2e/%2e%2e/etc/passwd",
        "/console//etc/passwd",
        f"//console/{EDITION}/main.js",
    ],
)
async def test_there_is_nothing_but_the_files(store_url: str, path: str) -> None:
    async with gateway(store_url, wire=True) as running:
        assert_problem(await as_it_stands(running, path), 404, "not_found")


async def test_another_edition_gets_what_there_is_and_keeps_it_not(running: Gateway) -> None:
    response = await running.client.get("/console/0123456789ab/main.js")
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-cache")


async def test_where_keys_are_on_the_console_opens_without_and_nothing_else_does(
    store_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ann:{KEY}\n")
    file.chmod(0o600)
    async with gateway(store_url, wire=True, api_keys_file=file) as running:
        for path in ("/", f"/console/{EDITION}/main.js"):
            response = await running.client.get(path)
            assert response.status_code == 200
            assert "set-cookie" not in response.headers
        for path in ("/v1/backends", "/docs", "/metrics", "/console", "/console/../metrics", "/index.html"):
            response = await as_it_stands(running, path)
            assert response.status_code == (404 if path.startswith("/console/") else 401), path


async def test_without_keys_other_names_for_this_machine_are_refused(running: Gateway) -> None:
    for path in ("/", f"/console/{EDITION}/main.js"):
        assert_problem(await running.client.get(path, headers={"Host": "evil.example"}), 403, "forbidden")
