"""AWS' side of a request: where a region's SageMaker runtime is, and SigV4 by the credentials that botocore finds.

botocore is an extra (`conviction[sagemaker]`), imported only where a gateway asks SageMaker. It reads AWS' own
variables and files itself.
"""

from __future__ import annotations

from typing import Any

from app.backends.upstream_errors import CallFailed
from app.errors import NotConfigured

RUNTIME = "sagemaker-runtime"
SIGNING_NAME = "sagemaker"


class Signer:
    """Signs requests to one region. The credentials are looked for when the first is signed."""

    def __init__(self, name: str, region: str) -> None:
        from botocore.session import Session

        self._name, self._region = name, region
        self._session: Any = Session()
        self._credentials: Any = None
        # Keys that are none: a client made without would look for the real ones, and may go over the network for it.
        client = self._session.create_client(
            RUNTIME,
            region_name=region,
            aws_access_key_id="-",
            aws_secret_access_key="-",  # noqa: S106
        )
        self.url: str = client.meta.endpoint_url.rstrip("/")
        """Without a path; AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME names another."""
        client.close()

    def headers(self, url: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
        """The headers that a POST goes out with. May ask a server for credentials: not for the event loop.

        Raises `CallFailed` where there are none, or they have run out and cannot be renewed.
        """
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest("POST", url, headers, body)
        SigV4Auth(self._found(), SIGNING_NAME, self._region).add_auth(request)
        return dict(request.headers)

    def _found(self) -> Any:
        try:
            if self._credentials is None:
                self._credentials = self._session.get_credentials()
            frozen = self._credentials and self._credentials.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001  # files, processes and servers of the machine's own, each with its errors
            raise self._without(f"AWS' credentials cannot be used ({type(error).__name__})") from None
        if not frozen:
            raise self._without("no AWS credentials are to be found")
        return frozen

    def _without(self, why: str) -> CallFailed:
        remedy = "set AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
        return CallFailed(NotConfigured(f"{self._name} cannot be asked: {why}; {remedy}"))
