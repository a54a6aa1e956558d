"""The CloudFormation stack of template.yaml: create, update, describe and delete it, and wait for the end of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError, WaiterError

from deploy.aws.errors import Refused

TEMPLATE = Path(__file__).with_name("template.yaml")
OWNER = "conviction-deployment"
"""The tag of the stack and, through CloudFormation, of each resource in it. A stack without it is never changed."""


class Stack:
    """A stack by name. Methods raise `Refused` where the stack belongs to others or an operation fails."""

    def __init__(self, cloudformation: Any, name: str) -> None:
        self._aws, self._name = cloudformation, name
        self._tags = [{"Key": OWNER, "Value": name}]

    def find(self) -> dict[str, Any] | None:
        """Return the stack's description, or None where it does not exist."""
        try:
            [found] = self._aws.describe_stacks(StackName=self._name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        if self._tags[0] not in found["Tags"]:
            raise Refused(f"a stack {self._name} exists and belongs to another deployment: choose another name")
        return dict(found)

    def parameters(self) -> dict[str, str]:
        """Return the stack's parameters; empty where it does not exist."""
        found = self.find() or {}
        return {each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", ())}

    def outputs(self) -> dict[str, str]:
        """Return the endpoint's name and the API's address, as far as they exist."""
        found = self.find() or {}
        return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}

    def apply(self, parameters: Mapping[str, str]) -> str:
        """Create or update the stack. A failure undoes all changes."""
        given = {"TemplateBody": TEMPLATE.read_text("utf-8"), "Tags": self._tags, **_request(parameters)}
        found = self.find()
        if found is None:
            self._do("create", self._name, OnFailure="DELETE", **given)
            return "created"
        try:
            self._do("update", found["StackId"], **given)
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return "unchanged"
            raise
        return "updated"

    def remove_autoscaling(self) -> None:
        """Remove the scalable target and its policy, and leave everything else as it is."""
        off = {**self.parameters(), "Autoscaling": "false"}
        self._do("update", self._name, UsePreviousTemplate=True, Tags=self._tags, **_request(off))

    def delete(self) -> bool:
        """Delete the stack; return whether it existed."""
        found = self.find()
        if found is not None:
            self._do("delete", found["StackId"])
        return found is not None

    def resources(self) -> dict[str, str]:
        """Return the status of each resource, by its name in the template."""
        pages = self._aws.get_paginator("list_stack_resources").paginate(StackName=self._name)
        listed = (each for page in pages for each in page["StackResourceSummaries"])
        return {each["LogicalResourceId"]: each["ResourceStatus"] for each in listed}

    def _do(self, verb: str, stack: str, **parameters: Any) -> None:
        """Request an operation and wait for its end. Wait by the stack's id: a name does not find a deleted stack."""
        token = uuid4().hex
        request = getattr(self._aws, f"{verb}_stack")
        stack = request(StackName=stack, ClientRequestToken=token, **parameters).get("StackId", stack)
        try:
            self._aws.get_waiter(f"stack_{verb}_complete").wait(StackName=stack)
        except WaiterError:
            raise Refused(f"stack {self._name}: {verb} failed: {self._reason(stack, token)}") from None

    def _reason(self, stack: str, token: str) -> str:
        """Return the first failure of an operation; others follow from it."""
        pages = self._aws.get_paginator("describe_stack_events").paginate(StackName=stack)
        failed = [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"
            for page in pages
            for event in page["StackEvents"]
            if event.get("ClientRequestToken") == token and event["ResourceStatus"].endswith("_FAILED")
        ]
        return failed[-1] if failed else "not within an hour; see its events"


def _request(parameters: Mapping[str, str]) -> dict[str, Any]:
    listed = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    return {"Parameters": listed, "Capabilities": ["CAPABILITY_IAM"]}
