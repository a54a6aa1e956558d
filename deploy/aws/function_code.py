"""The archive of the Lambda function, on S3 under the hash of its contents."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

from deploy.aws.settings import Deployment

SOURCE = Path(__file__).with_name("function")
FILES = ("relay.py", "stream.py", "wrapper")
EPOCH = (1980, 1, 1, 0, 0, 0)


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


def upload(s3: Any, deployment: Deployment) -> str:
    """Upload the archive; return its key."""
    bucket, folder = deployment.code_at
    archive = code()
    key = f"{folder}/function-{hashlib.sha256(archive).hexdigest()}.zip"
    s3.put_object(Bucket=bucket, Key=key, Body=archive)
    return key
