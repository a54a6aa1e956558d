"""AWS sessions, and AWS errors as one line without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.backends.sagemaker.errors import STATUSES

LONGEST = 500
RETRIES = Config(retries={"mode": "standard", "max_attempts": 5})


class Refused(Exception):
    """The command failed; the message gives the reason on one line, without secrets."""


def session(region: str) -> boto3.Session:
    """Open a session with botocore's default credentials. Raises `Refused` without usable credentials."""
    try:
        found = boto3.Session(region_name=region)
        credentials = found.get_credentials()
        usable = credentials is not None and credentials.get_frozen_credentials() is not None
    except Exception as error:  # noqa: BLE001  # credential files, processes and servers each raise their own errors
        raise Refused(f"AWS' credentials cannot be used ({type(error).__name__})") from None
    if not usable:
        raise Refused("no AWS credentials found: set AWS_PROFILE, or give the machine a role")
    return found


@contextmanager
def refuse_aws_errors() -> Iterator[None]:
    """Raise AWS errors inside the context as `Refused`."""
    try:
        yield
    except ClientError as error:
        raise Refused(_line(error)) from None
    except (BotoCoreError, Boto3Error) as error:
        kind = type(error).__name__
        # The output of a credential process may contain credentials.
        detail = "" if "Credential" in kind or "Token" in kind else f": {_short(str(error))}"
        raise Refused(f"asking AWS failed: {kind}{detail}") from None


def _line(error: ClientError) -> str:
    answer: dict[str, Any] = dict(error.response.get("Error", {}))
    code = answer.get("Code", "Unknown")
    if STATUSES.get(code) == 401 and not code.startswith("AccessDenied"):
        # Such messages may quote the request that was signed, its session token included.
        return f"AWS does not accept the credentials ({error.operation_name}: {code})"
    return f"AWS refused {error.operation_name}: {code}: {_short(answer.get('Message', ''))}"


def _short(message: str) -> str:
    return " ".join(message.split())[:LONGEST]
