"""The console's page and files: access, media types and caching."""

from __future__ import annotations

import gzip
import re
import tomllib
from hashlib import sha256
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
IMPORTED = re.compile(r'(?:from |import\()"\./([^"]+)"')
LIBRARY = {
    each["to"]: each["sha256"]
    for each in tomllib.loads((FOLDER.parents[1] / "requirements" / "console.toml").read_text())["file"]
}
"""The files of the library by name, with their hashes."""


async def as_it_stands(running: Gateway, path: str) -> httpx.Response:
    """What is answered to a path that no client has tidied up."""
    request = httpx.Request("GET", running.client.base_url, extensions={"target": path.encode()})
    return await running.client.send(request)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "index.html"])
async def test_a_file_has_its_media_type_and_is_immutable(running: Gateway, name: str) -> None:
    response = await running.client.get(f"/console/{EDITION}/{name}")
    assert response.status_code == 200
    assert response.content == (FOLDER / name).read_bytes()
    assert response.headers["content-type"] == MEDIA_TYPES[name.rpartition(".")[2]]
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_the_page_is_revalidated_and_its_files_exist(running: Gateway) -> None:
    response = await running.client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    named = NAMED.findall(response.text)
    assert len(named) == response.text.count("console/") >= 4
    for path in named:
        assert path.startswith(f"console/{EDITION}/")
        assert (await running.client.get(f"/{path}")).status_code == 200


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_modules_import_modules_that_are_there(name: str) -> None:
    assert set(IMPORTED.findall((FOLDER / name).read_text("utf-8"))) <= set(NAMES)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_s_files_are_those_of_its_package(name: str) -> None:
    assert sha256((FOLDER / name).read_bytes()).hexdigest() == LIBRARY[name]


@pytest.mark.parametrize("path", ["/", f"/console/{EDITION}/main.js"])
async def test_a_known_etag_gets_a_304(running: Gateway, path: str) -> None:
    first = await running.client.get(path, headers={"Accept-Encoding": "identity"})
    known = {"Accept-Encoding": "identity", "If-None-Match": f'"other", W/{first.headers["etag"]}'}
    again = await running.client.get(path, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = await running.client.get(path, headers=known | {"If-None-Match": '"other"'})
    assert other.content == first.content


async def test_files_are_compressed_for_clients_that_accept_gzip(running: Gateway) -> None:
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
async def test_the_policy_allows_only_the_console_s_own_files_and_origin(running: Gateway, path: str) -> None:
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
    if name in LIBRARY:  # its comments name addresses, and its comparisons look like markup
        return
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
async def test_other_paths_are_not_found(store_url: str, path: str) -> None:
    async with gateway(store_url, wire=True) as running:
        assert_problem(await as_it_stands(running, path), 404, "not_found")


async def test_another_edition_is_served_without_caching(running: Gateway) -> None:
    response = await running.client.get("/console/0123456789ab/main.js")
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-cache")


async def test_other_methods_are_refused(running: Gateway) -> None:
    for path in ("/", f"/console/{EDITION}/main.js"):
        response = await running.client.post(path)
        assert_problem(response, 405, "method_not_allowed")
        assert response.headers["allow"] == "GET, HEAD"
        assert (await running.client.head(path)).content == b""


async def test_with_keys_on_the_console_needs_no_key(store_url: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ann:{KEY}\n")
    file.chmod(0o600)
    async with gateway(store_url, wire=True, api_keys_file=file) as running:
        for path in ("/", f"/console/{EDITION}/main.js"):
            response = await running.client.get(path)
            assert response.status_code == 200
            assert "set-cookie" not in response.headers
        for path in ("/v1/backends", "/metrics", "/console", "/console/../metrics", "/index.html"):
            response = await as_it_stands(running, path)
            assert response.status_code == (404 if path.startswith("/console/") else 401), path


async def test_without_keys_other_names_for_this_machine_are_refused(running: Gateway) -> None:
    for path in ("/", f"/console/{EDITION}/main.js"):
        assert_problem(await running.client.get(path, headers={"Host": "evil.example"}), 403, "forbidden")
