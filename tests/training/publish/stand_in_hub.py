"""A stand-in for the Hugging Face hub's write API, strict about the order: create, preupload, LFS, verify, commit.

Paths and documents are those that huggingface_hub 2.4 sends where it does not use Xet, and those that
https://huggingface.co/docs/hub/api and the git-lfs batch API describe. It holds no model and is unreachable's hub.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import yaml
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response


@dataclass
class Repository:
    """What was committed, path -> content, and how often."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


class StandInHub:
    """State and endpoints. `large` is the size from which a file goes through LFS."""

    def __init__(self, token: str, large: int = 1000) -> None:
        self.token, self.large = token, large
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.loses_uploads = False
        self._announced: dict[str, int] = {}
        self._stored: dict[str, bytes] = {}
        self._verified: set[str] = set()

    def app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)
        app.add_api_route("/api/repos/create", self._create, methods=["POST"])
        app.add_api_route("/api/validate-yaml", self._validate, methods=["POST"])
        app.add_api_route("/api/models/{org}/{name}/preupload/main", self._preupload, methods=["POST"])
        app.add_api_route("/{org}/{name}.git/info/lfs/objects/batch", self._batch, methods=["POST"])
        app.add_api_route("/storage/{oid}", self._store, methods=["PUT"])
        app.add_api_route("/verify/{oid}", self._verify, methods=["POST"])
        app.add_api_route("/api/models/{org}/{name}/commit/main", self._commit, methods=["POST"])
        app.middleware("http")(self._guard)
        return app

    async def _guard(self, request: Request, call_next: Any) -> Response:
        """The token everywhere but at the storage, whose addresses are signed and must not be shown it."""
        self.requests.append(f"{request.method} {request.url.path}")
        given = request.headers.get("authorization")
        if given != (None if request.url.path.startswith("/storage/") else f"Bearer {self.token}"):
            return JSONResponse({"error": "Invalid username or password."}, 401)
        answer: Response = await call_next(request)
        return answer

    async def _create(self, request: Request) -> Response:
        body = await request.json()
        repo = f"{body['organization']}/{body['name']}"
        if body["organization"] != "conviction-tests":
            return JSONResponse({"error": f"You don't have the rights to create a model under {repo}"}, 403)
        if repo in self.repositories:
            return JSONResponse({"error": "You already created this model repo", "url": f"/{repo}"}, 409)
        self.repositories[repo] = Repository(private=body["visibility"] == "private")
        return JSONResponse({"url": f"{request.base_url}{repo}", "name": repo})

    async def _validate(self, request: Request) -> Response:
        """The card's front matter, as the hub reads it."""
        content = (await request.json())["content"]
        _, front, _ = content.split("---\n", 2)
        if not {"license", "base_model"} <= set(yaml.safe_load(front)):
            return JSONResponse({"errors": [{"message": "license and base_model are needed"}], "warnings": []}, 400)
        return JSONResponse({"errors": [], "warnings": []})

    async def _preupload(self, request: Request, org: str, name: str) -> Response:
        if f"{org}/{name}" not in self.repositories:
            return _unknown()
        modes = {file["path"]: file["size"] >= self.large for file in (await request.json())["files"]}
        return JSONResponse(
            {
                "files": [
                    {"path": path, "shouldIgnore": False, "uploadMode": "lfs" if large else "regular"}
                    for path, large in modes.items()
                ]
            }
        )

    async def _batch(self, request: Request, org: str, name: str) -> Response:
        body = await request.json()
        if request.headers["content-type"] != "application/vnd.git-lfs+json" or body["hash_algo"] != "sha256":
            return JSONResponse({"error": "not a git-lfs batch request"}, 422)
        if f"{org}/{name}" not in self.repositories or body["operation"] != "upload":
            return _unknown()
        objects = [self._object(request, one["oid"], one["size"]) for one in body["objects"]]
        return JSONResponse({"transfer": "basic", "objects": objects})

    def _object(self, request: Request, oid: str, size: int) -> dict[str, Any]:
        self._announced[oid] = size
        actions = {
            "upload": {"href": f"{request.base_url}storage/{oid}?signature=once"},
            "verify": {"href": f"{request.base_url}verify/{oid}"},
        }
        return {"oid": oid, "size": size, "authenticated": True, "actions": actions}

    async def _store(self, request: Request, oid: str) -> Response:
        content = await request.body()
        if oid not in self._announced or request.query_params.get("signature") != "once":
            return Response(status_code=403)
        if hashlib.sha256(content).hexdigest() != oid or len(content) != self._announced[oid]:
            return Response(status_code=400)
        if not self.loses_uploads:
            self._stored[oid] = content
        return Response()

    async def _verify(self, request: Request, oid: str) -> Response:
        body = await request.json()
        if oid not in self._stored or body != {"oid": oid, "size": len(self._stored[oid])}:
            return JSONResponse({"error": f"object {oid[:12]} was not uploaded"}, 422)
        self._verified.add(oid)
        return Response()

    async def _commit(self, request: Request, org: str, name: str) -> Response:
        if f"{org}/{name}" not in self.repositories:
            return _unknown()
        header, *operations = [json.loads(line) for line in (await request.body()).splitlines()]
        files = {}
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"], validate=True)
            elif operation["key"] == "lfsFile" and value["algo"] == "sha256" and value["oid"] in self._verified:
                files[value["path"]] = self._stored[value["oid"]]
            else:
                return JSONResponse({"error": f"{value['path']}: not uploaded and verified"}, 422)
        repository = self.repositories[f"{org}/{name}"]
        repository.files |= files
        repository.commits.append(header["value"]["summary"])
        oid = hashlib.sha1(repr(sorted(files)).encode()).hexdigest()
        return JSONResponse({"commitUrl": f"{request.base_url}{org}/{name}/commit/{oid}", "commitOid": oid})


def _unknown() -> Response:
    return JSONResponse({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
