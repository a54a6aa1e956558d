"""A custom Lambda runtime, since Lambda's Python runtime cannot stream: poll for events and stream each answer, in the
format of API Gateway's response streaming."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping

import relay  # type: ignore[import-not-found]  # in the same Lambda archive

RUNTIME = "/2018-06-01/runtime"
BETWEEN = b"\0" * 8
"""Separates the JSON of status and headers from the body."""
STREAMED = {
    "Content-Type": "application/vnd.awslambda.http-integration-response",
    "Lambda-Runtime-Function-Response-Mode": "streaming",
    "Transfer-Encoding": "chunked",
}


def main() -> None:
    while True:
        answer_next(os.environ["AWS_LAMBDA_RUNTIME_API"])


def answer_next(api: str) -> None:
    """Wait for one event and answer it; report an unexpected failure to Lambda."""
    connection = http.client.HTTPConnection(api)
    connection.request("GET", f"{RUNTIME}/invocation/next")
    asked = connection.getresponse()
    event, ident = json.load(asked), asked.headers["Lambda-Runtime-Aws-Request-Id"]
    try:
        status, headers, pieces = relay.respond(event)
    except Exception as error:  # noqa: BLE001
        post(connection, f"{RUNTIME}/invocation/{ident}/error", failure(error), {})
        return
    try:
        post(connection, f"{RUNTIME}/invocation/{ident}/response", whole(status, headers, pieces), STREAMED)
    except Exception as error:  # noqa: BLE001  # closing inside a chunk reports the failure to Lambda
        print(f"the answer to {ident} was broken off: {type(error).__name__}", file=sys.stderr, flush=True)
    finally:
        connection.close()


def whole(status: int, headers: Mapping[str, str], pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield json.dumps({"statusCode": status, "headers": headers}).encode() + BETWEEN
    for piece in pieces:
        if piece:
            yield piece


def failure(error: Exception) -> bytes:
    return json.dumps({"errorType": type(error).__name__, "errorMessage": "unforeseen"}).encode()


def post(
    connection: http.client.HTTPConnection, path: str, body: bytes | Iterator[bytes], headers: Mapping[str, str]
) -> None:
    connection.request("POST", path, body=body, headers=headers, encode_chunked="Transfer-Encoding" in headers)
    connection.getresponse().read()


if __name__ == "__main__":
    main()
