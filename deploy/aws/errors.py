"""What AWS answers with, where it is no success, as one line; and the credentials that it is asked with."""

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
ABSENT = ("Could not find", "does not exist", "not found", "Cannot find", "No scalable target", "No scaling policy")


class Refused(Exception):
    """It is not done; the message says why, on one line and without a secret."""


def session(region: str) -> boto3.Session:
    """With credentials by botocore's default chain. Raises `Refused` where it has none that can be used."""
    try:
        found = boto3.Session(region_name=region)
        credentials = found.get_credentials()
        usable = credentials is not None and credentials.get_frozen_credentials() is not None
    except Exception as error:  # noqa: BLE001  # files, processes and servers of the machine's own, each with its errors
        raise Refused(f"AWS' credentials cannot be used ({type(error).__name__})") from None
    if not usable:
        raise Refused("no AWS credentials are to be found: set AWS_PROFILE, or give the machine a role")
    return found


@contextmanager
def refuse_aws_errors() -> Iterator[None]:
    """AWS' errors within are `Refused`."""
    try:
        yield
    except ClientError as error:
        raise Refused(_line(error)) from None
    except (BotoCoreError, Boto3Error) as error:
        kind = type(error).__name__
        # What was run for credentials may have said them.
        said = "" if "Credential" in kind or "Token" in kind else f": {_short(str(error))}"
        raise Refused(f"asking AWS failed: {kind}{said}") from None


def is_absent(error: ClientError) -> bool:
    """Whether it says that there is no such thing."""
    said = error.response.get("Error", {})
    return said.get("Code") in ("ResourceNotFoundException", "NotFoundException", "ObjectNotFoundException", "404") or (
        said.get("Code") in ("ValidationException", "ResourceNotFound")
        and any(word in said.get("Message", "") for word in ABSENT)
    )


@contextmanager
def ignore_absent() -> Iterator[None]:
    """What is not there is passed over."""
    try:
        yield
    except ClientError as error:
        if not is_absent(error):
            raise


def _line(error: ClientError) -> str:
    said: dict[str, Any] = dict(error.response.get("Error", {}))
    code = said.get("Code", "Unknown")
    if STATUSES.get(code) == 401 and not code.startswith("AccessDenied"):
        # Such messages may quote the request that was signed, its session token included.
        return f"AWS does not accept the credentials ({error.operation_name}: {code})"
    return f"AWS refused {error.operation_name}: {code}: {_short(said.get('Message', ''))}"


def _short(said: str) -> str:
    return " ".join(said.split())[:LONGEST]
