"""The built weights on S3. Every file is checked against its hash; the build record is uploaded last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from pydantic import ValidationError

from app.contract.manifest import BuildRecord, UnusableModel, verify
from deploy.aws.errors import Refused
from deploy.aws.settings import Deployment

KIND = "awq"
RECORD = f"build-{KIND}.json"
PART = TransferConfig(multipart_chunksize=1 << 26)


class Weights:
    """MODEL_ID/awq/… and MODEL_ID/build-awq.json in the bucket. `models` is the folder of local builds."""

    def __init__(self, s3: Any, deployment: Deployment, models: Path) -> None:
        self.name = f"weights {deployment.weights}/{deployment.model_id}"
        self._s3, self._model_id = s3, deployment.model_id
        self._bucket, self._folder = deployment.weights_at
        self._built = models / deployment.model_id

    def ensure(self) -> str:
        """Upload the files whose hash differs."""
        build = self._record()
        pushed = self._pushed()
        if pushed == build:
            return "unchanged"
        if pushed is not None:
            self._s3.delete_object(**self._at(RECORD))  # no record beside files of two builds
        for name, sha256 in build.weights.items():
            if self._hash_of(name) != sha256:
                self._s3.upload_file(
                    str(self._built / KIND / name),
                    **self._at(f"{KIND}/{name}"),
                    ExtraArgs={"Metadata": {"sha256": sha256}, "ChecksumAlgorithm": "SHA256"},
                    Config=PART,
                )
        self._s3.put_object(**self._at(RECORD), Body=build.model_dump_json().encode())
        return "uploaded"

    def state(self) -> str:
        pushed = self._pushed()
        return "absent" if pushed is None else f"{len(pushed.weights)} files"

    def remove(self) -> bool:
        """Remove the files that `ensure` uploaded, complete or not, and nothing else."""
        return remove(self._s3, self._bucket, f"{self._folder}/{KIND}/", f"{self._folder}/{RECORD}")

    def _record(self) -> BuildRecord:
        path = self._built / RECORD
        try:
            build = BuildRecord.model_validate_json(path.read_bytes())
            if build.model_id != self._model_id:
                raise Refused(f"{path} belongs to another model, {build.model_id}")
            verify(self._built / KIND, build.weights)
        except OSError as error:
            raise Refused(f"{path} cannot be read: {error.strerror}; `make model` builds the weights") from None
        except ValidationError:
            raise Refused(f"{path} is not a build record") from None
        except UnusableModel as error:
            raise Refused(str(error)) from None
        return build

    def _pushed(self) -> BuildRecord | None:
        try:
            return BuildRecord.model_validate_json(self._s3.get_object(**self._at(RECORD))["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        except ValidationError:
            return None

    def _hash_of(self, name: str) -> str | None:
        try:
            found: str | None = self._s3.head_object(**self._at(f"{KIND}/{name}"))["Metadata"].get("sha256")
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return None
            raise
        return found

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._folder}/{name}"}


def remove(s3: Any, bucket: str, *prefixes: str) -> bool:
    """Remove the objects whose keys begin with one of the prefixes; return whether there were any."""
    lists = s3.get_paginator("list_objects_v2")
    pages = (page for prefix in prefixes for page in lists.paginate(Bucket=bucket, Prefix=prefix))
    keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
    for key in keys:
        s3.delete_object(Bucket=bucket, Key=key)
    return bool(keys)
