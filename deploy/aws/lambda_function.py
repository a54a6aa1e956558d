"""The Lambda function that forwards requests to the endpoint."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from deploy.aws.errors import Refused, is_absent
from deploy.aws.part import OWNER, Change
from deploy.aws.settings import Deployment

SOURCE = Path(__file__).with_name("function")
FILES = ("relay.py", "stream.py", "wrapper")
EPOCH = (1980, 1, 1, 0, 0, 0)
BUFFERED_S, STREAMED_S = 29, 300
"""Seconds that API Gateway waits for a whole answer; SageMaker streams for up to eight minutes."""


def code() -> bytes:
    """Return a reproducible archive of the files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name in FILES:
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (0o755 if name == "wrapper" else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, (SOURCE / name).read_bytes())
    return archive.getvalue()


def configuration(deployment: Deployment) -> dict[str, Any]:
    streaming = {"STREAM": "1", "AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"} if deployment.stream else {}
    return {
        "Runtime": "python3.13",
        "Role": deployment.function_role,
        "Handler": "relay.handler",
        "Timeout": STREAMED_S if deployment.stream else BUFFERED_S,
        "MemorySize": 256,
        "Environment": {"Variables": {"ENDPOINT": deployment.name, "MODEL": deployment.model_id, **streaming}},
    }


class Function:
    """A `Part`: the function."""

    def __init__(self, aws_lambda: Any, deployment: Deployment) -> None:
        self.name = f"function {deployment.name}, {'streaming' if deployment.stream else 'whole answers'}"
        self._lambda, self._deployment = aws_lambda, deployment
        self._function = {"FunctionName": deployment.name}

    def ensure(self) -> Change:
        found, archive, wanted = self._found(), code(), configuration(self._deployment)
        if found is None:
            self._lambda.create_function(
                **self._function, **wanted, Code={"ZipFile": archive}, Tags={OWNER: self._deployment.name}
            )
            self._settled("function_active_v2")
            return "made"
        same_code = found["CodeSha256"] == base64.b64encode(hashlib.sha256(archive).digest()).decode()
        same_settings = {name: found.get(name) for name in wanted} == wanted
        if not same_code:
            self._lambda.update_function_code(**self._function, ZipFile=archive)
            self._settled("function_updated_v2")
        if not same_settings:
            self._lambda.update_function_configuration(**self._function, **wanted)
            self._settled("function_updated_v2")
        return "as it was" if same_code and same_settings else "changed"

    def state(self) -> str:
        found = self._found()
        return "absent" if found is None else f"{found.get('State', 'there')}, {found['Runtime']}"

    def remove(self) -> bool:
        if self._found() is None:
            return False
        self._lambda.delete_function(**self._function)
        return True

    def _settled(self, waiter: str) -> None:
        self._lambda.get_waiter(waiter).wait(**self._function)

    def _found(self) -> dict[str, Any] | None:
        """Return the function. Raises `Refused` where another deployment owns the name."""
        try:
            found = self._lambda.get_function(**self._function)
        except ClientError as error:
            if is_absent(error):
                return None
            raise
        if found.get("Tags", {}).get(OWNER) != self._deployment.name:
            raise Refused(
                f"a function {self._deployment.name} exists and belongs to another deployment: choose another name"
            )
        settings: dict[str, Any] = found["Configuration"]
        return settings
