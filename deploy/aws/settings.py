"""A deployment's settings from one TOML file. All invalid settings are reported together, before any request to AWS."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.contract.fingerprint import fingerprint
from deploy.aws.errors import Refused

S3, HUB = "s3://", "hub:"
ON_S3 = r"s3://[a-z0-9.-]{3,63}/[\w./-]*[\w.-]"


class Deployment(BaseModel):
    """The settings of one stack: an endpoint, its Lambda function and its API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=40)]
    region: Annotated[str, Field(pattern=r"^[a-z]{2,}(-[a-z]+)+-\d+$")]
    model_id: Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=100)]
    weights: Annotated[str, Field(pattern=rf"^({ON_S3}|hub:[\w.-]+/[\w.-]+)$")]
    function_code: Annotated[str, Field(pattern=rf"^({ON_S3})?$")] = ""
    image: str = "763104351884.dkr.ecr.{region}.amazonaws.com/vllm:server-sagemaker-cuda-v2.5"
    instance_type: Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")] = "ml.g4dn.xlarge"
    inference_ami: str = "al2023-ami-sagemaker-inference-gpu-4-1"
    dtype: Literal["float16", "bfloat16", "auto"] = "float16"
    instances: Annotated[int, Field(ge=1, le=100)] = 1
    instances_at_most: Annotated[int, Field(ge=1, le=100)] = 2
    concurrent_requests: Annotated[float, Field(gt=0, le=1000)] = 8.0
    stream: bool = False
    allow_foreign_model: bool = False

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.instances > self.instances_at_most:
            raise ValueError("instances_at_most: is less than instances")
        if not (self.on_s3 or self.function_code):
            raise ValueError("function_code: name a folder on S3 for the function's archive")
        if self.instance_type.startswith("ml.g4dn.") and self.dtype != "float16":
            raise ValueError(f"dtype: the T4 of {self.instance_type} computes in float16 alone")
        if not (self.allow_foreign_model or self.model_id.endswith(f"-{fingerprint()}")):
            raise ValueError(
                f"model_id: {self.model_id} was not made for this gateway's contract, whose fingerprint "
                f"{fingerprint()} would end it; allow_foreign_model = true takes any"
            )
        return self

    @property
    def on_s3(self) -> bool:
        return self.weights.startswith(S3)

    @property
    def weights_at(self) -> tuple[str, str]:
        """The bucket and the folder of the model's weights; both empty for a hub repository."""
        bucket, folder = _location(self.weights)
        return (bucket, f"{folder}/{self.model_id}") if self.on_s3 else ("", "")

    @property
    def code_at(self) -> tuple[str, str]:
        """The bucket and the folder of the function's archive."""
        bucket, folder = _location(self.function_code or self.weights)
        return bucket, f"{folder}/{self.name}"

    def parameters(self, code_key: str) -> dict[str, str]:
        """Return the parameters of template.yaml."""
        bucket, folder = self.weights_at
        return {
            "ModelId": self.model_id,
            "WeightsBucket": bucket,
            "WeightsFolder": folder,
            "HubRepository": "" if self.on_s3 else self.weights.removeprefix(HUB),
            "CodeBucket": self.code_at[0],
            "CodeKey": code_key,
            "Image": self.image.format(region=self.region),
            "InstanceType": self.instance_type,
            "InferenceAmi": self.inference_ami,
            "Dtype": self.dtype,
            "Instances": f"{self.instances}",
            "InstancesAtMost": f"{self.instances_at_most}",
            "ConcurrentRequests": f"{self.concurrent_requests:g}",
            "Stream": "true" if self.stream else "false",
            "Autoscaling": "true",
        }


def _location(url: str) -> tuple[str, str]:
    bucket, _, folder = url.removeprefix(S3).partition("/")
    return bucket, folder.strip("/")


def load(path: Path) -> Deployment:
    """Load the settings. Raises `Refused` with every invalid setting."""
    try:
        return Deployment.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        wrong = (
            ".".join(map(str, problem["loc"])) + (": " if problem["loc"] else "") + problem["msg"]
            for problem in error.errors(include_url=False)
        )
        raise Refused(f"{path}: " + "; ".join(problem.replace("Value error, ", "") for problem in wrong)) from None
