"""The Lambda handler: forwards a chat completion in OpenAI's format to the SageMaker endpoint, and returns the answer.

It needs only boto3, which Lambda's Python has. ENDPOINT and MODEL name the endpoint and the model; STREAM is set where
`stream.py` streams answers.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import boto3
from botocore.config import Config
from botocore.eventstream import ParserError
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from urllib3.exceptions import HTTPError

Answer = tuple[int, dict[str, str], Iterable[bytes]]

STREAMED_READ_S, READ_S = 60, 27
"""Read timeouts: for the next piece of a stream, and for a whole answer, below API Gateway's 29 s."""
ANSWERS = {
    "ThrottlingException": (429, "too many requests"),
    "ModelNotReadyException": (503, "the model is still being loaded"),
    "ServiceUnavailable": (503, "the model cannot be asked now"),
}
JSON = {"Content-Type": "application/json"}
EVENTS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
    """Return the whole answer to an API Gateway event."""
    status, headers, pieces = respond(event)
    return {"statusCode": status, "headers": headers, "body": b"".join(pieces).decode(), "isBase64Encoded": False}


def respond(event: dict[str, Any]) -> Answer:
    """Return status, headers and the body's pieces as they arrive. Expected errors become answers."""
    try:
        body = asked(event)
    except ValueError as error:
        return refused(400, str(error))
    try:
        if body.get("stream"):
            answer = runtime().invoke_endpoint_with_response_stream(**request(body))
            return 200, EVENTS, pieces(answer["Body"])
        answer = runtime().invoke_endpoint(**request(body))
        return 200, JSON, [answer["Body"].read()]
    except ClientError as error:
        return refused_by_aws(error)
    except ReadTimeoutError:
        return refused(504, "the model did not answer in time")
    except (BotoCoreError, HTTPError) as error:
        log(type(error).__name__)
        return refused(502, "the model was not reached")


def asked(event: dict[str, Any]) -> dict[str, Any]:
    """Parse the body, for the served model. Raises `ValueError` with the reason."""
    try:
        text = event.get("body") or ""
        body = json.loads(base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text)
    except (ValueError, binascii.Error):
        raise ValueError("the body is no JSON") from None
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise ValueError("the body must be an object with messages")
    if body.get("stream") and "STREAM" not in os.environ:
        raise ValueError("stream: answers are not streamed here")
    return {**body, "model": os.environ["MODEL"]}


def request(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "EndpointName": os.environ["ENDPOINT"],
        "ContentType": "application/json",
        "Body": json.dumps(body).encode(),
    }


def pieces(stream: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the server-sent events as they arrive. After a failure the last event is an error, without [DONE]."""
    try:
        for event in stream:
            if "PayloadPart" in event:
                yield event["PayloadPart"]["Bytes"]
            else:
                log(next(iter(event), "nothing"))
                break
        else:
            return
    except (ClientError, BotoCoreError, HTTPError, ParserError) as error:
        log(type(error).__name__)
    yield b"data: " + document("the model broke its answer off") + b"\n\n"


def refused_by_aws(error: ClientError) -> Answer:
    """Return the model's own refusal unchanged. Other errors get our text, since AWS' messages name resources."""
    code = error.response.get("Error", {}).get("Code", "Unknown")
    log(code)
    if code == "ModelError":
        status = error.response.get("OriginalStatusCode") or 502
        if 400 <= status < 500:
            return status, JSON, [said_by_model(error.response.get("OriginalMessage", ""))]
        return refused(502, "the model failed")
    return refused(*ANSWERS.get(code, (502, "the model cannot be asked")))


def said_by_model(message: str) -> bytes:
    try:
        json.loads(message)
    except ValueError:
        return document("the model refused the request")
    return message.encode()


def refused(status: int, message: str) -> Answer:
    after = {"Retry-After": "1"} if status in (429, 503) else {}
    return status, {**JSON, **after}, [document(message)]


def document(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "server_error", "param": None, "code": None}}).encode()


def log(code: str) -> None:
    print(json.dumps({"level": "warning", "message": "the endpoint returned an error", "error": code}), flush=True)


@functools.cache
def runtime() -> Any:
    """Return the client, one for each Lambda container, without retries: a retry would be billed again."""
    seconds = STREAMED_READ_S if "STREAM" in os.environ else READ_S
    return boto3.client("sagemaker-runtime", config=Config(read_timeout=seconds, retries={"total_max_attempts": 1}))
