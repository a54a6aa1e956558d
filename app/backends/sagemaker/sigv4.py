"""The address of a region's SageMaker runtime, and SigV4 signatures with the credentials that botocore finds.

botocore is in the extra `conviction[sagemaker]` and imported only if SageMaker is configured. It reads AWS' variables
and files itself.
"""

from __future__ import annotations

from typing import Any

from app.backends.upstream_errors import CallFailed
from app.errors import NotConfigured

RUNTIME = "sagemaker-runtime"
SIGNING_NAME = "sagemaker"


class Signer:
    """Signs requests to one region. The first signature looks up the credentials."""

    def __init__(self, name: str, region: str) -> None:
        from botocore.session import Session

        self._name, self._region = name, region
        self._session: Any = Session()
        self._credentials: Any = None
        # Placeholders: without keys, the client would look up the real ones, possibly over the network.
        client = self._session.create_client(
            RUNTIME,
            region_name=region,
            aws_access_key_id="-",
            aws_secret_access_key="-",  # noqa: S106
        )
        self.url: str = client.meta.endpoint_url.rstrip("/")
        """Without a path; AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME overrides it."""
        client.close()

    def headers(self, url: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
        """Return the headers of a signed POST. Blocks if a server must be asked for credentials.

        Raises `CallFailed` if there are no credentials, or expired ones cannot be renewed.
        """
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest("POST", url, headers, body)
        SigV4Auth(self._frozen_credentials(), SIGNING_NAME, self._region).add_auth(request)
        return dict(request.headers)

    def _frozen_credentials(self) -> Any:
        try:
            if self._credentials is None:
                self._credentials = self._session.get_credentials()
            frozen = self._credentials and self._credentials.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001  # providers are files, processes and servers with errors of any type
            raise self._unusable(f"AWS' credentials cannot be used ({type(error).__name__})") from None
        if not frozen:
            raise self._unusable("no AWS credentials were found")
        return frozen

    def _unusable(self, why: str) -> CallFailed:
        remedy = "set AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
        return CallFailed(NotConfigured(f"{self._name} cannot be used: {why}; {remedy}"))
