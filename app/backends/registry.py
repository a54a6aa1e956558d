"""The backends by name, as the settings describe them."""

from __future__ import annotations

from app.backends.base import Backend
from app.backends.dialects import SAGEMAKER, VLLM, openai_dialect
from app.backends.openai_style import OpenAIStyle
from app.backends.sagemaker import SageMaker
from app.backends.sagemaker.sigv4 import Signer
from app.backends.unconfigured import Unconfigured
from app.contract.completion import BackendName
from app.contract.fingerprint import fingerprint
from app.settings.gateway import Settings

OPENAI_URL = "https://api.openai.com/v1"


def build_backends(settings: Settings) -> dict[BackendName, Backend]:
    """Both backends; one that lacks its setting is there and says so. Opens no connection."""
    return {"mistral": _mistral(settings), "gpt-4": _gpt4(settings)}


def _mistral(settings: Settings) -> Backend:
    if settings.sagemaker_endpoint:
        return _on_sagemaker(settings)
    if not settings.vllm_urls:
        return Unconfigured("mistral", "CONVICTION_VLLM_URLS")
    return OpenAIStyle(
        "mistral",
        settings.vllm_urls,
        VLLM,
        made_for="" if settings.allow_foreign_model else fingerprint(),
        first_token_s=settings.first_token_timeout_s,
    )


def _on_sagemaker(settings: Settings) -> Backend:
    signer = Signer("mistral", settings.aws_region)
    return OpenAIStyle(
        "mistral",
        [f"{signer.url}/endpoints/{settings.sagemaker_endpoint}"],
        SAGEMAKER,
        origin=SageMaker(signer, settings.sagemaker_model or "", SAGEMAKER.idle_s),
        model=settings.sagemaker_model,
        first_token_s=settings.first_token_timeout_s,
    )


def _gpt4(settings: Settings) -> Backend:
    if settings.openai_api_key is None or not settings.openai_api_key.get_secret_value():
        return Unconfigured("gpt-4", "OPENAI_API_KEY", settings.gpt4_model)
    return OpenAIStyle(
        "gpt-4",
        [settings.openai_base_url or OPENAI_URL],
        openai_dialect(settings.gpt4_model),
        key=settings.openai_api_key,
        model=settings.gpt4_model,
        first_token_s=settings.first_token_timeout_s,
    )
