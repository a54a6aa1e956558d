"""Settings of the backends: where each model is served, how many calls it takes, and what it costs."""

from __future__ import annotations

from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from re import fullmatch
from typing import Annotated, Any, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator
from pydantic_core import from_json
from pydantic_settings import NoDecode

from app.contract.fingerprint import fingerprint
from app.contract.hardware import Profile
from app.settings.addresses import HttpUrl, proxy_for
from app.settings.loading import EnvironmentSettings, HeaderSecret, split_commas

OPENAI_URL = "https://api.openai.com/v1"

Concurrency = Annotated[int, Field(gt=0)]
QueueSize = Annotated[int, Field(ge=0)]


def _model_store() -> Path:
    """Return model_store/ of the working directory, or else the one next to the package."""
    here, installed = Path("model_store"), Path(__file__).parents[2] / "model_store"
    return here if here.is_dir() or not installed.is_dir() else installed


def _from_json(value: Any) -> Any:
    return from_json(value) if isinstance(value, str) else value


class ModelSettings(EnvironmentSettings):
    """Which published model is served."""

    model_store: Path = Field(default_factory=_model_store)
    """Folder of the published models; by default model_store/ of the working directory, or else the one beside the
    package."""
    allow_foreign_model: bool = False
    """Serve a model whose contract fingerprint is not this gateway's."""


class BackendSettings(ModelSettings):
    """How the gateway reaches each backend."""

    vllm_urls: Annotated[tuple[HttpUrl, ...], NoDecode, BeforeValidator(split_commas)] = ()
    """OpenAI-style base URLs of the vLLM servers that share the load, comma separated; none: no mistral."""
    vllm_profile: Annotated[Profile | None, NoDecode, BeforeValidator(_from_json)] = None
    """JSON: how the vLLM servers run the model (`app.contract.hardware.Profile`), which answers report. `conviction up`
    sets it; None: unknown."""
    sagemaker_endpoint: Annotated[str, Field(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$")] | None = None
    """A SageMaker endpoint that serves the model instead of `vllm_urls`."""
    sagemaker_model: Annotated[str, Field(min_length=1)] | None = None
    """The id under which the endpoint serves its model; SageMaker cannot list it."""
    aws_region: str = Field(default="", validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"))
    """Region of the SageMaker endpoint."""
    candidate_urls: Annotated[tuple[HttpUrl, ...], NoDecode, BeforeValidator(split_commas)] = ()
    """Base URLs of the vLLM servers of another version of the model, the backend candidate, comma separated; they may
    be those of `vllm_urls`. None: no candidate. Its limits, concurrency and price are those set for mistral."""
    candidate_model: Annotated[str, Field(min_length=1)] | None = None
    """The id under which those servers offer the candidate, such as a LoRA module's; None: their first model made for
    this gateway's contract."""
    openai_api_key: HeaderSecret = Field(default=None, validation_alias="OPENAI_API_KEY")
    """OpenAI's API key; None: no gpt-4."""
    openai_base_url: HttpUrl | None = Field(default=None, validation_alias="OPENAI_BASE_URL")
    """Base URL of another OpenAI-style API for gpt-4; None: OpenAI's."""
    gpt4_model: Annotated[str, Field(min_length=1)] = "gpt-4.1"
    """The OpenAI model behind gpt-4."""
    mistral_max_concurrency: Concurrency = 64
    """Concurrent calls to mistral, over all its servers."""
    mistral_queue_size: QueueSize = 256
    """Calls that may wait while mistral is at its maximum concurrency."""
    gpt4_max_concurrency: Concurrency = 64
    """Concurrent calls to gpt-4."""
    gpt4_queue_size: QueueSize = 256
    """Calls that may wait while gpt-4 is at its maximum concurrency."""
    backend_timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    """Deadline of a request, and the maximum of X-Timeout-Ms."""
    first_token_timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    """A call without a first token by then is cancelled, or sent to another server."""
    hosting_usd_per_hour: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = None
    """Price of a replica of the hosted model; None: the manifest's."""
    hosting_replicas: Annotated[int, Field(gt=0)] | None = None
    """Servers that are paid for, where one address balances over several; None: one per address."""
    capacity_tokens_per_hour: Annotated[int, Field(gt=0)] | None = None
    """Tokens of a replica at measured capacity; None: the manifest's."""

    @model_validator(mode="after")
    def _require_usable_proxies(self) -> Self:
        openai = [self.openai_base_url or OPENAI_URL] if self.openai_api_key else []
        sagemaker = [f"https://runtime.sagemaker.{self.aws_region}.amazonaws.com"] if self.sagemaker_endpoint else []
        for url in (*self.vllm_urls, *self.candidate_urls, *openai, *sagemaker):
            proxy_for(url)
        return self

    @model_validator(mode="after")
    def _require_usable_sagemaker(self) -> Self:
        if self.sagemaker_endpoint is None:
            return self
        if self.vllm_urls:
            raise ValueError("CONVICTION_SAGEMAKER_ENDPOINT: excludes CONVICTION_VLLM_URLS; unset one of them")
        if not fullmatch(r"[a-z]{2,}(-[a-z]+)+-\d+", self.aws_region):
            raise ValueError("AWS_REGION: CONVICTION_SAGEMAKER_ENDPOINT needs a region, such as eu-central-1")
        if not self.sagemaker_model:
            raise ValueError("CONVICTION_SAGEMAKER_MODEL: needed, the id under which the endpoint serves its model")
        if not (self.allow_foreign_model or self.sagemaker_model.endswith(f"-{fingerprint()}")):
            raise ValueError(
                "CONVICTION_SAGEMAKER_MODEL: was trained on another contract: an id for this gateway ends in "
                f"{fingerprint()}; CONVICTION_ALLOW_FOREIGN_MODEL=1 allows any"
            )
        if find_spec("botocore") is None:
            raise ValueError("CONVICTION_SAGEMAKER_ENDPOINT: needs botocore; run pip install 'conviction[sagemaker]'")
        return self

    @model_validator(mode="after")
    def _require_usable_candidate(self) -> Self:
        model = self.candidate_model
        if not self.candidate_urls:
            if model:
                raise ValueError("CONVICTION_CANDIDATE_MODEL: needs CONVICTION_CANDIDATE_URLS")
            return self
        if model and not (self.allow_foreign_model or model.endswith(f"-{fingerprint()}")):
            raise ValueError(
                "CONVICTION_CANDIDATE_MODEL: was trained on another contract: an id for this gateway ends in "
                f"{fingerprint()}; CONVICTION_ALLOW_FOREIGN_MODEL=1 allows any"
            )
        if model is None and set(self.candidate_urls) & set(self.vllm_urls):
            raise ValueError("CONVICTION_CANDIDATE_MODEL: needed where mistral's servers offer the candidate too")
        return self

    @property
    def candidate_servers(self) -> int:
        """The number of the candidate's servers that are paid for besides the hosted model's."""
        return len(set(self.candidate_urls) - set(self.vllm_urls))

    @property
    def hosted_servers(self) -> int:
        """The number of servers of the hosted model that are paid for; 0 where none is configured."""
        addresses = len(self.vllm_urls) or int(self.sagemaker_endpoint is not None)
        return (self.hosting_replicas or addresses) if addresses else 0
