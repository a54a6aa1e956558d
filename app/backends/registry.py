"""Construction of the backends from the settings."""

from __future__ import annotations

from app.backends.base import Backend
from app.backends.dialects import CANDIDATE, SAGEMAKER, VLLM, openai_dialect
from app.backends.openai_compatible import OpenAICompatibleBackend
from app.backends.sagemaker import SageMakerTransport
from app.backends.sagemaker.sigv4 import Signer
from app.backends.unconfigured import UnconfiguredBackend
from app.contract.completion import BackendName
from app.contract.fingerprint import fingerprint
from app.settings.backends import OPENAI_URL
from app.settings.gateway import Settings


def build_backends(settings: Settings) -> dict[BackendName, Backend]:
    """Return mistral and gpt-4, of which one without its settings raises `NotConfigured` when used, and the candidate
    if there is one. Opens no connection."""
    both: dict[BackendName, Backend] = {"mistral": _mistral(settings), "gpt-4": _gpt4(settings)}
    return {**both, "candidate": _candidate(settings)} if settings.candidate_urls else both


def _mistral(settings: Settings) -> Backend:
    if settings.sagemaker_endpoint:
        return _mistral_on_sagemaker(settings)
    if not settings.vllm_urls:
        return UnconfiguredBackend("mistral", "CONVICTION_VLLM_URLS")
    return OpenAICompatibleBackend(
        "mistral",
        settings.vllm_urls,
        VLLM,
        fingerprint=_fingerprint(settings),
        first_token_s=settings.first_token_timeout_s,
    )


def _candidate(settings: Settings) -> Backend:
    return OpenAICompatibleBackend(
        "candidate",
        settings.candidate_urls,
        CANDIDATE,
        model=settings.candidate_model,
        fingerprint=_fingerprint(settings),
        first_token_s=settings.first_token_timeout_s,
    )


def _fingerprint(settings: Settings) -> str:
    """Return what the id of a hosted model must end in."""
    return "" if settings.allow_foreign_model else fingerprint()


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
    if settings.openai_api_key is None:
        return UnconfiguredBackend("gpt-4", "OPENAI_API_KEY", settings.gpt4_model)
    return OpenAICompatibleBackend(
        "gpt-4",
        [settings.openai_base_url or OPENAI_URL],
        openai_dialect(settings.gpt4_model),
        key=settings.openai_api_key,
        model=settings.gpt4_model,
        first_token_s=settings.first_token_timeout_s,
    )
