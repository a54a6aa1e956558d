"""The hosted model behind SageMaker's runtime: signatures, wrapping and AWS' failures."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.backends.base import Backend
from app.backends.dialects import SAGEMAKER
from app.backends.openai_compatible import OpenAICompatibleBackend
from app.backends.registry import build_backends
from app.backends.sagemaker.errors import unwrap_error
from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.prompt import Detail, messages
from app.contract.recommendation import canonical, parse
from app.contract.rule_based_analyst import answer
from app.errors import BackendError, BackendUnavailable, InvalidSettings, NotConfigured
from app.main import create_app
from app.settings.gateway import Settings, load_settings

from ..conftest import StandIn, served
from .conftest import soon
from .sagemaker_runtime import (
    ACCESS_KEY,
    ENDPOINT,
    REGION,
    SECRET_KEY,
    SESSION_TOKEN,
    Runtime,
    create_runtime,
    credentials,
)

MODEL = f"stand-in/mistral-{fingerprint()}"
BRIEF = messages(EXAMPLE, "SNPS", "brief")
SECRETS = (SECRET_KEY, SESSION_TOKEN, "123456789012", "hush")
VARIABLES = [
    "CONVICTION_VLLM_URLS",
    "CONVICTION_SAGEMAKER_ENDPOINT",
    "CONVICTION_SAGEMAKER_MODEL",
    "AWS_PROFILE",
    "AWS_REGION",
]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*VARIABLES, "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in credentials():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("CONVICTION_MARKET", "sample")
    return monkeypatch


@pytest.fixture(scope="module")
def running(stand_in_server: StandIn) -> Iterator[tuple[Runtime, str]]:
    double = Runtime(stand_in_server)
    with served(create_runtime(double), lifespan="on") as origin:
        yield double, origin


@pytest.fixture
def runtime(running: tuple[Runtime, str], stand_in: StandIn, environment: pytest.MonkeyPatch) -> Runtime:
    """A reset double, and the environment that points to it."""
    double, origin = running
    double.forget()
    environment.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", origin)
    return double


def settings(**given: Any) -> Settings:
    return Settings(**{"sagemaker_endpoint": ENDPOINT, "sagemaker_model": MODEL} | given)


@pytest.fixture
async def backend(runtime: Runtime) -> AsyncIterator[Backend]:
    made = build_backends(settings())["mistral"]
    assert isinstance(made, OpenAICompatibleBackend)
    made._dispatcher._jitter = lambda: 0.0
    yield made
    await made.close()


@pytest.mark.parametrize("detail", ["brief", "full"])
async def test_a_whole_answer(detail: Detail, backend: Backend, runtime: Runtime) -> None:
    completion = await backend.complete(messages(EXAMPLE, "SNPS", detail), detail, soon())
    assert completion.text == canonical(answer(EXAMPLE, detail))
    assert parse(detail, completion.text) == answer(EXAMPLE, detail)
    assert (completion.model, backend.model) == (MODEL, MODEL)
    assert completion.probabilities is not None
    assert not completion.usage.estimated
    assert completion.usage.completion_tokens > 5
    assert completion.time_to_first_token is not None
    assert 0 < completion.time_to_first_token <= completion.duration
    assert runtime.requests == ["invocations-response-stream"]
    assert runtime.refused == []


async def test_a_cancelled_answer_is_cancelled_at_the_model(backend: Backend, stand_in: StandIn) -> None:
    stand_in.fail("slow")
    before = stand_in.tally()["abandoned"]
    async with backend.answer(BRIEF, "brief", soon()) as stream:
        await anext(aiter(stream))
        assert stream.usage.prompt_tokens > 0
    await asyncio.to_thread(
        stand_in.wait, lambda tally: tally["abandoned"] == before + 1 and not tally["open"], seconds=20
    )


async def test_a_check_generates_one_token(backend: Backend, runtime: Runtime) -> None:
    await backend.check()
    await backend.check()
    assert runtime.requests == ["invocations"]
    await backend.discover_model()
    assert runtime.requests == ["invocations"], "the id is known from the settings"


async def test_an_unserved_model_fails_check_and_call(runtime: Runtime) -> None:
    other = build_backends(settings(sagemaker_model=f"other-{fingerprint()}"))["mistral"]
    said = "mistral knows no such model or address: check CONVICTION_SAGEMAKER_MODEL and CONVICTION_SAGEMAKER_ENDPOINT"
    with pytest.raises(BackendUnavailable) as checked:
        await other.check()
    with pytest.raises(NotConfigured) as asked:
        await other.complete(BRIEF, "brief", soon())
    assert (checked.value.detail, asked.value.detail) == (said, said)
    await other.close()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_chat_completion_is_forwarded(streamed: bool, backend: Backend, runtime: Runtime) -> None:
    body = SAGEMAKER.request("any", BRIEF, "brief") | {"stream": streamed}
    del body["stream_options"]
    async with backend.chat(body, soon()) as chat:
        passed = b"".join([piece async for piece in chat])
        assert chat.status == 200
        usage = chat.usage
    assert usage is not None
    assert usage.completion_tokens > 0
    assert not usage.estimated
    if streamed:
        assert chat.headers["Content-Type"].startswith("text/event-stream")
        assert passed.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(passed)["model"] == MODEL
    assert runtime.requests == ["invocations-response-stream"]


async def test_the_model_s_refusal_of_a_chat_completion_is_passed_on_without_aws_text(backend: Backend) -> None:
    async with backend.chat({"messages": "none", "stream": False}, soon()) as chat:
        passed = b"".join([piece async for piece in chat])
    assert chat.status in (400, 422)
    assert "error" in json.loads(passed)
    assert not any(secret in passed.decode() for secret in SECRETS)


FAILED: list[tuple[list[str], type[BackendError], str]] = [
    (["throttled"] * 3, BackendUnavailable, "mistral limits the rate of requests"),
    (["loading"] * 3, BackendError, "mistral failed (HTTP 503)"),
    (["unavailable"] * 3, BackendError, "mistral failed (HTTP 503)"),
    (["internal"] * 3, BackendError, "mistral failed (HTTP 500)"),
    (["dependency"] * 3, BackendError, "mistral failed (HTTP 530)"),
    (["timed-out"] * 3, BackendError, "mistral failed (HTTP 502)"),
    (["expired"], NotConfigured, "mistral does not accept the key: check the AWS credentials and their permissions"),
    (["denied"], NotConfigured, "mistral does not accept the key: check the AWS credentials and their permissions"),
    (["stream-error"], BackendError, "mistral sent a truncated or invalid response"),
    (["broken-frame"], BackendError, "mistral sent a truncated or invalid response"),
]


@pytest.mark.parametrize(("failing", "kind", "detail"), FAILED, ids=[failing[0] for failing, _, _ in FAILED])
async def test_failures_of_aws_are_distinguished_and_hold_no_secret(
    failing: Sequence[str],
    kind: type[BackendError],
    detail: str,
    backend: Backend,
    runtime: Runtime,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    runtime.failing.extend(failing)
    with pytest.raises(BackendError) as raised:
        await backend.complete(BRIEF, "brief", soon())
    assert (type(raised.value), raised.value.detail) == (kind, detail)
    assert runtime.failing == []
    own = [record.getMessage() for record in caplog.records if record.name.startswith("app")]
    said = "".join([*own, repr(backend), repr(vars(backend)), *traceback.format_exception(raised.value)])
    assert not any(secret in said for secret in SECRETS)


@pytest.mark.parametrize("mode", ["500", "503"])
async def test_the_model_s_failure_keeps_its_status(mode: Any, backend: Backend, stand_in: StandIn) -> None:
    stand_in.fail(mode, times=3)
    with pytest.raises(BackendError, match=rf"mistral failed \(HTTP {mode}\)"):
        await backend.complete(BRIEF, "brief", soon())


async def test_a_missing_endpoint_names_the_settings(runtime: Runtime) -> None:
    lost = build_backends(settings(sagemaker_endpoint="elsewhere"))["mistral"]
    with pytest.raises(NotConfigured, match="check CONVICTION_SAGEMAKER_MODEL and CONVICTION_SAGEMAKER_ENDPOINT"):
        await lost.complete(BRIEF, "brief", soon())
    await lost.close()


async def test_a_wrong_secret_is_refused_by_the_double(runtime: Runtime, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_SECRET_ACCESS_KEY", "another")
    wrong = build_backends(settings())["mistral"]
    with pytest.raises(NotConfigured, match="does not accept the key"):
        await wrong.check()
    assert runtime.refused == ["another signature"]
    await wrong.close()


async def test_no_credentials_and_unusable_ones_are_a_clear_error(
    runtime: Runtime, environment: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        environment.delenv(name)
    missing = build_backends(settings())["mistral"]
    with pytest.raises(NotConfigured, match="no AWS credentials were found; set AWS_PROFILE"):
        await missing.complete(BRIEF, "brief", soon())
    with pytest.raises(BackendUnavailable, match="no AWS credentials"):
        await missing.check()
    await missing.close()
    environment.setenv("AWS_ACCESS_KEY_ID", "AKID")
    half = build_backends(settings())["mistral"]
    with pytest.raises(NotConfigured, match=r"cannot be used \(PartialCredentialsError\)"):
        await half.complete(BRIEF, "brief", soon())
    await half.close()
    assert runtime.requests == runtime.refused == []


@pytest.mark.parametrize(("works", "said"), [(True, ""), (False, r"cannot be used \(JSONDecodeError\)")])
async def test_credentials_come_from_botocore_s_chain(
    works: bool, said: str, runtime: Runtime, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        environment.delenv(name)
    issued = {"Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "SessionToken": SESSION_TOKEN}
    (tmp_path / "credentials").write_text(json.dumps(issued) if works else "nothing")
    (tmp_path / "config").write_text(f"[profile by-process]\ncredential_process = cat {tmp_path / 'credentials'}\n")
    environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    environment.setenv("AWS_PROFILE", "by-process")
    backend = build_backends(settings())["mistral"]
    if works:
        assert (await backend.complete(BRIEF, "brief", soon())).text
    else:
        with pytest.raises(NotConfigured, match=said) as raised:
            await backend.complete(BRIEF, "brief", soon())
        assert str(tmp_path) not in raised.value.detail
    await backend.close()


WRONG: list[tuple[dict[str, str], str]] = [
    ({"CONVICTION_VLLM_URLS": "http://x/v1"}, "excludes CONVICTION_VLLM_URLS"),
    ({"AWS_REGION": ""}, "AWS_REGION: .* needs a region"),
    ({"CONVICTION_SAGEMAKER_MODEL": ""}, "CONVICTION_SAGEMAKER_MODEL: needed"),
    ({"CONVICTION_SAGEMAKER_MODEL": "mistral-7b-1-0123456789ab"}, "CONVICTION_SAGEMAKER_MODEL: .* another contract"),
    ({"CONVICTION_SAGEMAKER_ENDPOINT": "a/b"}, "CONVICTION_SAGEMAKER_ENDPOINT: "),
    ({"AWS_REGION": "evil.example/"}, "AWS_REGION: "),
]


@pytest.mark.parametrize(("given", "said"), WRONG, ids=[said for _, said in WRONG])
def test_invalid_settings_are_refused_at_startup(
    given: dict[str, str], said: str, environment: pytest.MonkeyPatch
) -> None:
    good = {"CONVICTION_SAGEMAKER_ENDPOINT": ENDPOINT, "CONVICTION_SAGEMAKER_MODEL": f"mistral-7b-1-{fingerprint()}"}
    for name, value in {**good, **given}.items():
        environment.setenv(name, value)
    with pytest.raises(InvalidSettings, match=said):
        load_settings()


def test_a_foreign_model_and_aws_default_region_are_accepted(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("AWS_REGION")
    environment.setenv("AWS_DEFAULT_REGION", REGION)
    environment.setenv("CONVICTION_SAGEMAKER_ENDPOINT", ENDPOINT)
    environment.setenv("CONVICTION_SAGEMAKER_MODEL", "foreign")
    environment.setenv("CONVICTION_ALLOW_FOREIGN_MODEL", "1")
    found = load_settings()
    assert (found.aws_region, found.sagemaker_model, found.hosted_servers) == (REGION, "foreign", 1)


def test_without_botocore_the_error_names_the_extra(environment: pytest.MonkeyPatch) -> None:
    environment.setattr("app.settings.backends.find_spec", lambda name: None)
    environment.setenv("CONVICTION_SAGEMAKER_ENDPOINT", ENDPOINT)
    environment.setenv("CONVICTION_SAGEMAKER_MODEL", MODEL)
    with pytest.raises(InvalidSettings, match=r"conviction\[sagemaker\]"):
        load_settings()


@pytest.mark.parametrize(
    ("status", "kind", "body", "expected"),
    [
        (400, "", b'{"__type": "com.amazonaws.sagemaker#ThrottlingException"}', 429),
        (403, "SomethingNew", b"{}", 401),
        (413, "", b"<html>", 413),
        (424, "ModelError", b"not json", 502),
        (424, "ModelError", b'{"OriginalStatusCode": 200}', 502),
    ],
)
def test_unusual_errors_are_mapped(status: int, kind: str, body: bytes, expected: int) -> None:
    assert unwrap_error(status, kind, body) == (expected, b"")


async def test_the_gateway_answers_through_the_endpoint(runtime: Runtime) -> None:
    """From the client's request to SageMaker and back."""
    app = create_app(settings(default_backend="mistral", market="sample", openai_api_key=None))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        body = {"ticker": "SNPS", "metrics": EXAMPLE.document(), "detail": "brief"}
        answered = await client.post("/v1/recommendations", json=body)
        assert answered.status_code == 200, answered.text
        said = answered.json()
        assert (said["backend"], said["model"], said["action"]) == ("mistral", MODEL, answer(EXAMPLE, "brief").action)
        assert said["cost"]["basis"] == "capacity"
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/v1/costs")).json()["hosted"] is not None
        assert 'conviction_backend_replicas{backend="mistral"} 1.0' in (await client.get("/metrics")).text


def test_aws_variables_are_ignored_without_sagemaker(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_REGION", "of something else")
    assert load_settings().hosted_servers == 0
