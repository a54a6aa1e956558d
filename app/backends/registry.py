"""Construction of the backends from the settings."""

from __future__ import annotations

from app.backends.base import Backend
from app.backends.dialects import SAGEMAKER, VLLM, openai_dialect
from app.backends.openai_compatible import OpenAICompatibleBackend
from app.backends.sagemaker import SageMakerTransport
from app.backends.sagemaker.sigv4 import Signer
from app.backends.unconfigured import UnconfiguredBackend
from app.contract.completion import BackendName
from app.contract.fingerprint import fingerprint
from app.settings.backends import OPENAI_URL
from app.settings.gateway import Settings


def build_backends(settings: Settings) -> dict[BackendName, Backend]:
    """Return both backends; one without its settings raises `NotConfigured` when used. Opens no connection."""
    return {"mistral": _mistral(settings), "gpt-4": _gpt4(settings)}


def _mistral(settings: Settings) -> Backend:
    if settings.sagemaker_endpoint:
        return _mistral_on_sagemaker(settings)
    if not settings.vllm_urls:
        return UnconfiguredBackend("mistral", "CONVICTION_VLLM_URLS")
    return OpenAICompatibleBackend(
        "mistral",
        settings.vllm_urls,
        VLLM,
        fingerprint="" if settings.allow_foreign_model else fingerprint(),
        first_token_s=settings.first_token_timeout_s,
    )


def _mistral_on_sagemaker(settings: Settings) -> Backend:
    signer = Signer("mistral", settings.aws_region)
    return OpenAICompatibleBackend(
        "mistral",
        [f"{signer.url}/endpoints/{settings.sagemaker_endpoint}"],
        SAGEMAKER,
        transport=SageMakerTransport(signer, settings.sagemaker_model or "", SAGEMAKER.idle_s),
        model=settings.sagemaker_model,
        first_token_s=settings.first_token_timeout_s,
    )


def _gpt4(settings: Settings) -> Backend:
    if settings.openai_api_key is None or not settings.openai_api_key.get_secret_value():
        return UnconfiguredBackend("gpt-4", "OPENAI_API_KEY", settings.gpt4_model)
    return OpenAICompatibleBackend(
        "gpt-4",
        [settings.openai_base_url or OPENAI_URL],
        openai_dialect(settings.gpt4_model),
        key=settings.openai_api_key,
        model=settings.gpt4_model,
        first_token_s=settings.first_token_timeout_s,
    )
