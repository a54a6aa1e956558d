"""GET /v1/models: the models of POST /v1/chat/completions, in the format of OpenAI's API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.openai_errors import ChatError
from app.api.state import principal_of, resources_of
from app.auth.principal import may_use
from app.contract.completion import BackendName
from app.errors import NotFound

router = APIRouter()


@dataclass(frozen=True)
class Model:
    """A model of OpenAI's API: a backend."""

    id: BackendName
    object: Literal["model"] = "model"
    created: Annotated[int, Field(description="always 0: unknown")] = 0
    owned_by: str = "conviction"


@dataclass(frozen=True)
class ModelList:
    """The models that the key may use."""

    data: list[Model]
    object: Literal["list"] = "list"


MODEL, MODELS = TypeAdapter(Model), TypeAdapter(ModelList)


@router.get(
    "/v1/models",
    **documents.operation(
        "chat",
        {
            200: documents.answer("The models.", ModelList),
            **documents.problems(*documents.KEYED, media_type="application/json", model=ChatError),
        },
    ),
)
async def list_models(request: Request) -> Response:
    """The models that the key may use, for OpenAI's clients."""
    return Response(MODELS.dump_json(ModelList(_models(request))), media_type="application/json")


@router.get(
    "/v1/models/{model}",
    **documents.operation(
        "chat",
        {
            200: documents.answer("The model.", Model),
            **documents.problems(*documents.KEYED, NotFound, media_type="application/json", model=ChatError),
        },
        parameters=[{**documents.parameter("model", "mistral, gpt-4 or candidate", "path"), "required": True}],
    ),
)
async def get_model(request: Request) -> Response:
    """One of them."""
    for model in _models(request):
        if model.id == request.path_params["model"]:
            return Response(MODEL.dump_json(model), media_type="application/json")
    names = " or ".join(resources_of(request).upstreams)
    raise NotFound(f"the model must be {names}, and one that the key may use")


def _models(request: Request) -> list[Model]:
    principal = principal_of(request)
    return [Model(name) for name in resources_of(request).upstreams if may_use(principal, name)]
