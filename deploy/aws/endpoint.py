"""The model in AWS's vLLM container, and the endpoint that serves it.

SageMaker's models and endpoint configurations never change: theirs are named by what they say, and an endpoint that is
to be another way is pointed at another configuration, which SageMaker brings up beside the old one.
"""

from __future__ import annotations

import re
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from deploy.aws.errors import Refused, ignore_absent, is_absent
from deploy.aws.part import OWNER, Change, digest
from deploy.aws.settings import HUB, MAX_MODEL_LEN, Deployment
from deploy.aws.weights import KIND

VARIANT = "all"
MOUNTED = "/opt/ml/model"
STARTING_S = 1800
"""Seconds to load the weights, and to download them."""
POLL = {"Delay": 15, "MaxAttempts": 160}


def environment(deployment: Deployment) -> dict[str, str]:
    """The container makes `--max-model-len 2048` of SM_VLLM_MAX_MODEL_LEN=2048, and a bare flag of a true one."""
    hub = {} if deployment.on_s3 else {"SM_VLLM_MODEL": deployment.weights.removeprefix(HUB)}
    return {
        "SM_VLLM_MODEL": MOUNTED,
        "SM_VLLM_SERVED_MODEL_NAME": deployment.model_id,
        "SM_VLLM_TOKENIZER_MODE": "hf",
        "SM_VLLM_GENERATION_CONFIG": "vllm",
        "SM_VLLM_MAX_MODEL_LEN": str(MAX_MODEL_LEN),
        "SM_VLLM_ENABLE_PREFIX_CACHING": "true",
        "SM_VLLM_ENABLE_PROMPT_TOKENS_DETAILS": "true",
        "SM_VLLM_STRUCTURED_OUTPUTS_CONFIG": '{"backend":"xgrammar","disable_any_whitespace":true}',
        "SM_VLLM_DTYPE": deployment.dtype,
        "VLLM_NO_USAGE_STATS": "1",
        **({"HF_HUB_OFFLINE": "1"} if deployment.on_s3 else hub),
    }


def model(deployment: Deployment) -> dict[str, Any]:
    """Return CreateModel's parameters without the name."""
    source = {
        "S3Uri": f"{deployment.weights.rstrip('/')}/{deployment.model_id}/{KIND}/",
        "S3DataType": "S3Prefix",
        "CompressionType": "None",
    }
    container: dict[str, Any] = {
        "Image": deployment.image.format(region=deployment.region),
        "Environment": environment(deployment),
    }
    if deployment.on_s3:
        container["ModelDataSource"] = {"S3DataSource": source}
    return {"PrimaryContainer": container, "ExecutionRoleArn": deployment.endpoint_role}


def variant(deployment: Deployment, model_name: str) -> dict[str, Any]:
    return {
        "VariantName": VARIANT,
        "ModelName": model_name,
        "InitialInstanceCount": deployment.instances,
        "InstanceType": deployment.instance_type,
        "InferenceAmiVersion": deployment.inference_ami,
        "ModelDataDownloadTimeoutInSeconds": STARTING_S,
        "ContainerStartupHealthCheckTimeoutInSeconds": STARTING_S,
        "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
    }


class Endpoint:
    """A `Part`: the endpoint with its current and earlier configurations and models."""

    def __init__(self, sagemaker: Any, deployment: Deployment, poll: dict[str, int] | None = None) -> None:
        self.name = f"endpoint {deployment.name}, {deployment.model_id} on {deployment.instance_type}"
        self._sagemaker, self._deployment, self._poll = sagemaker, deployment, poll or POLL
        self._tags = [{"Key": OWNER, "Value": deployment.name}]
        self.model = f"{deployment.name}-{digest(model(deployment))}"
        self.config = f"{deployment.name}-{digest(variant(deployment, self.model))}"

    def differs(self) -> bool:
        """Return whether the endpoint exists and `ensure` would change it."""
        found = self._found()
        return found is not None and found["EndpointConfigName"] != self.config

    def ensure(self) -> Change:
        found = self._found()
        if found is not None and found["EndpointConfigName"] == self.config:
            self._in_service()
            return "as it was"
        self._describable()
        name = {"EndpointName": self._deployment.name, "EndpointConfigName": self.config}
        if found is None:
            self._sagemaker.create_endpoint(**name, Tags=self._tags)
        else:
            self._in_service()  # one that is being changed cannot be changed
            self._sagemaker.update_endpoint(**name)
        self._in_service()
        return "made" if found is None else "changed"

    def state(self) -> str:
        found = self._found()
        if found is None:
            return "absent"
        count = sum(each.get("CurrentInstanceCount", 0) for each in found.get("ProductionVariants", ()))
        other = "" if found["EndpointConfigName"] == self.config else ", with other settings than these"
        why = f": {found['FailureReason']}" if found.get("FailureReason") else ""
        return f"{found['EndpointStatus']}{why}, {count} of {self._deployment.instance_type}{other}"

    def remove(self) -> bool:
        there = self._found() is not None
        if there:
            self._sagemaker.delete_endpoint(EndpointName=self._deployment.name)
            self._sagemaker.get_waiter("endpoint_deleted").wait(
                EndpointName=self._deployment.name, WaiterConfig=self._poll
            )
        configs = self._own("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName")
        models = self._own("list_models", "Models", "ModelName")
        for config in configs:
            self._sagemaker.delete_endpoint_config(EndpointConfigName=config)
        for each in models:
            self._sagemaker.delete_model(ModelName=each)
        return there or bool(configs or models)

    def _describable(self) -> None:
        """Create the model and the configuration if they do not exist."""
        if self.model not in self._own("list_models", "Models", "ModelName"):
            self._sagemaker.create_model(ModelName=self.model, **model(self._deployment), Tags=self._tags)
        if self.config not in self._own("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"):
            self._sagemaker.create_endpoint_config(
                EndpointConfigName=self.config,
                ProductionVariants=[variant(self._deployment, self.model)],
                Tags=self._tags,
            )

    def _found(self) -> dict[str, Any] | None:
        """Return the endpoint. Raises `Refused` where another deployment owns the name."""
        try:
            found: dict[str, Any] = self._sagemaker.describe_endpoint(EndpointName=self._deployment.name)
        except ClientError as error:
            if is_absent(error):
                return None
            raise
        tags = self._sagemaker.list_tags(ResourceArn=found["EndpointArn"])["Tags"]
        if self._tags[0] not in tags:
            raise Refused(
                f"an endpoint {self._deployment.name} exists and belongs to another deployment: choose another name"
            )
        return found

    def _own(self, operation: str, listed: str, key: str) -> list[str]:
        """Return the names of this deployment's current and earlier resources."""
        pages = self._sagemaker.get_paginator(operation).paginate(NameContains=f"{self._deployment.name}-")
        own = re.compile(rf"{re.escape(self._deployment.name)}-[0-9a-f]{{10}}")
        return [each[key] for page in pages for each in page[listed] if own.fullmatch(each[key])]

    def _in_service(self) -> None:
        waiter = self._sagemaker.get_waiter("endpoint_in_service")
        try:
            waiter.wait(EndpointName=self._deployment.name, WaiterConfig=self._poll)
        except WaiterError:
            with ignore_absent():
                raise Refused(f"the endpoint did not come into service: {self.state()}") from None
            raise
