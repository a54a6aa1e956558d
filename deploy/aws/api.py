"""The public address: a REST API with one method, POST /v1/chat/completions, authorized by AWS_IAM signatures."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from deploy.aws.errors import Refused, is_absent
from deploy.aws.part import OWNER, Change, digest
from deploy.aws.settings import Deployment

STAGE = "v1"
PATH = "/chat/completions"
STATEMENT = "conviction-api"
SIGNED = "AWS_IAM"
WHOLE = ("2015-03-31", "invocations", "BUFFERED", 29_000)
STREAMED = ("2021-11-15", "response-streaming-invocations", "STREAM", 300_000)


def integration(deployment: Deployment, function_arn: str) -> dict[str, Any]:
    """Return PutIntegration's parameters for the function."""
    version, action, transfer, timeout_ms = STREAMED if deployment.stream else WHOLE
    partition = function_arn.split(":")[1]
    path = f"{version}/functions/{function_arn}/{action}"
    return {
        "type": "AWS_PROXY",
        "integrationHttpMethod": "POST",
        "uri": f"arn:{partition}:apigateway:{deployment.region}:lambda:path/{path}",
        "timeoutInMillis": timeout_ms,
        "responseTransferMode": transfer,
    }


class Api:
    """A `Part`: the API, its stage, and the permission to invoke the function."""

    def __init__(self, gateway: Any, aws_lambda: Any, deployment: Deployment) -> None:
        self.name = f"API {deployment.name}, POST /{STAGE}{PATH}, signed by {SIGNED}"
        self._gateway, self._lambda, self._deployment = gateway, aws_lambda, deployment

    def ensure(self) -> Change:
        """Create or update the API.

        The last step stores the integration's digest in the stage, so that the next run completes an interrupted one.
        """
        function = self._lambda.get_function(FunctionName=self._deployment.name)["Configuration"]["FunctionArn"]
        wanted = integration(self._deployment, function)
        found = self._found()
        if found is not None and self._deployed(found) == digest(wanted) and self._permitted(found):
            return "as it was"
        ident = found or self._made()
        method = self._method(ident)
        self._gateway.put_integration(**method, **wanted)
        self._permit(ident, function)
        self._gateway.create_deployment(restApiId=ident, stageName=STAGE)
        remember = {"op": "replace", "path": "/variables/integration", "value": digest(wanted)}
        self._gateway.update_stage(restApiId=ident, stageName=STAGE, patchOperations=[remember])
        return "made" if found is None else "changed"

    def state(self) -> str:
        found = self._found()
        if found is None:
            return "absent"
        return f"https://{found}.execute-api.{self._deployment.region}.{self._domain()}/{STAGE}{PATH}"

    def remove(self) -> bool:
        """The function's permission goes with the function."""
        found = self._found()
        if found is None:
            return False
        self._gateway.delete_rest_api(restApiId=found)
        return True

    def _made(self) -> str:
        made = self._gateway.create_rest_api(
            name=self._deployment.name,
            description=f"{self._deployment.model_id} on SageMaker",
            endpointConfiguration={"types": ["REGIONAL"]},
            tags={OWNER: self._deployment.name},
        )
        return str(made["id"])

    def _method(self, ident: str) -> dict[str, str]:
        """Return the POST method; create it and its path if needed. Raises `Refused` where it needs no signature."""
        pages = self._gateway.get_paginator("get_resources").paginate(restApiId=ident)
        resources = {each["path"]: each["id"] for page in pages for each in page["items"]}
        parent, path = resources["/"], ""
        for part in PATH.strip("/").split("/"):
            path = f"{path}/{part}"
            parent = resources.get(path) or self._child(ident, parent, part)
        method = {"restApiId": ident, "resourceId": parent, "httpMethod": "POST"}
        try:
            signed_by = self._gateway.get_method(**method)["authorizationType"]
        except ClientError as error:
            if not is_absent(error):
                raise
            signed_by = self._gateway.put_method(**method, authorizationType=SIGNED)["authorizationType"]
        if signed_by != SIGNED:
            raise Refused(f"the method of the API {ident} is open (authorization {signed_by}): it is not deployed")
        return method

    def _child(self, ident: str, parent: str, part: str) -> str:
        return str(self._gateway.create_resource(restApiId=ident, parentId=parent, pathPart=part)["id"])

    def _found(self) -> str | None:
        pages = self._gateway.get_paginator("get_rest_apis").paginate()
        own = (each["id"] for page in pages for each in page["items"] if self._owned(each))
        return next(own, None)

    def _owned(self, api: dict[str, Any]) -> bool:
        tagged = api.get("tags", {}).get(OWNER)
        return (api["name"], tagged) == (self._deployment.name, self._deployment.name)

    def _deployed(self, ident: str) -> str | None:
        """Return the digest of the integration that the stage was deployed from."""
        try:
            stage = self._gateway.get_stage(restApiId=ident, stageName=STAGE)
        except ClientError as error:
            if is_absent(error):
                return None
            raise
        found: str | None = stage.get("variables", {}).get("integration")
        return found

    def _permitted(self, ident: str) -> bool:
        try:
            policy = json.loads(self._lambda.get_policy(FunctionName=self._deployment.name)["Policy"])
        except ClientError as error:
            if is_absent(error):
                return False
            raise
        return any(each["Sid"] == STATEMENT and ident in json.dumps(each) for each in policy["Statement"])

    def _permit(self, ident: str, function_arn: str) -> None:
        if self._permitted(ident):
            return
        try:
            self._lambda.remove_permission(FunctionName=self._deployment.name, StatementId=STATEMENT)
        except ClientError as error:
            if not is_absent(error):
                raise
        _, partition, _, region, account, *_ = function_arn.split(":")
        self._lambda.add_permission(
            FunctionName=self._deployment.name,
            StatementId=STATEMENT,
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:{partition}:execute-api:{region}:{account}:{ident}/*/POST{PATH}",
        )

    def _domain(self) -> str:
        return "amazonaws.com.cn" if self._deployment.region.startswith("cn-") else "amazonaws.com"
