"""Autoscaling of instances by concurrent requests per model copy, measured every 10 seconds."""

from __future__ import annotations

from typing import Any

from deploy.aws.endpoint import VARIANT
from deploy.aws.errors import ignore_absent
from deploy.aws.part import Change
from deploy.aws.settings import Deployment

METRIC = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
POLICY = "concurrent-requests"


class Scaling:
    """A `Part`: the endpoint's variant as an Application Auto Scaling target, and its policy."""

    def __init__(self, autoscaling: Any, deployment: Deployment) -> None:
        self.name = (
            f"autoscaling {deployment.instances} to {deployment.instances_at_most} instances, at "
            f"{deployment.concurrent_requests:g} concurrent requests a copy"
        )
        self._autoscaling = autoscaling
        self._target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{deployment.name}/variant/{VARIANT}",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }
        self._bounds = {"MinCapacity": deployment.instances, "MaxCapacity": deployment.instances_at_most}
        self._policy = {
            "TargetValue": deployment.concurrent_requests,
            "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC},
            "ScaleOutCooldown": 60,
            "ScaleInCooldown": 300,
        }

    def ensure(self) -> Change:
        bounds, policy = self._found()
        if (bounds, policy) == (self._bounds, self._policy):
            return "as it was"
        if bounds != self._bounds:
            self._autoscaling.register_scalable_target(**self._target, **self._bounds)
        if policy != self._policy:
            self._autoscaling.put_scaling_policy(
                **self._target,
                PolicyName=POLICY,
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration=self._policy,
            )
        return "made" if bounds is None else "changed"

    def state(self) -> str:
        bounds, policy = self._found()
        if bounds is None:
            return "absent"
        shared_calls = f", at {policy['TargetValue']:g} a copy" if policy else ", without a policy"
        return f"{bounds['MinCapacity']} to {bounds['MaxCapacity']}{shared_calls}"

    def remove(self) -> bool:
        bounds, policy = self._found()
        if policy is not None:
            with ignore_absent():
                self._autoscaling.delete_scaling_policy(**self._target, PolicyName=POLICY)
        if bounds is not None:
            with ignore_absent():
                self._autoscaling.deregister_scalable_target(**self._target)
        return bounds is not None

    def _found(self) -> tuple[dict[str, int] | None, dict[str, Any] | None]:
        space, resource = self._target["ServiceNamespace"], self._target["ResourceId"]
        targets = self._autoscaling.describe_scalable_targets(ServiceNamespace=space, ResourceIds=[resource])
        bounds = [{name: each[name] for name in self._bounds} for each in targets["ScalableTargets"]]
        policies = self._autoscaling.describe_scaling_policies(ServiceNamespace=space, ResourceId=resource)
        tracking = [
            {name: each["TargetTrackingScalingPolicyConfiguration"].get(name) for name in self._policy}
            for each in policies["ScalingPolicies"]
            if each["PolicyName"] == POLICY
        ]
        return next(iter(bounds), None), next(iter(tracking), None)
