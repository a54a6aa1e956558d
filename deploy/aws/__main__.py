"""python -m deploy.aws push|deploy|status|delete --config FILE [--plan]"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deploy.aws import function_code
from deploy.aws.errors import RETRIES, Refused, refuse_aws_errors, session
from deploy.aws.plan import cost, prices
from deploy.aws.settings import Deployment, load
from deploy.aws.stack import Stack
from deploy.aws.weights import Weights, remove

EPILOG = """`push` uploads the weights to S3, `deploy` creates or updates the stack of template.yaml, `status` prints
the state of each part, `delete` removes all, with the weights unless --keep-weights is given. Each can be repeated.
exit status: 0 done, 1 AWS refused, 2 the settings cannot be used"""
Client = Callable[[str], Any]


def push(deployment: Deployment, client: Client, models: Path) -> None:
    if not deployment.on_s3:
        raise Refused("weights: upload those of a hub repository with `python -m training publish --push-to`")
    weights = Weights(client("s3"), deployment, models)
    say(weights.name, weights.ensure())


def deploy(deployment: Deployment, client: Client, models: Path) -> None:
    weights = Weights(client("s3"), deployment, models)
    if deployment.on_s3 and weights.state() == "absent":
        raise Refused(f"{weights.name} do not exist: upload them with `push`")
    stack = Stack(client("cloudformation"), deployment.name)
    before = stack.parameters()
    wanted = deployment.parameters(function_code.upload(client("s3"), deployment))
    if before and before["InstanceType"] != wanted["InstanceType"]:
        stack.remove_autoscaling()
        say("autoscaling", "removed while the instance type changes")
    say(f"stack {deployment.name}", stack.apply(wanted))
    say("address", stack.outputs()["Address"])


def status(deployment: Deployment, client: Client, models: Path) -> None:
    if deployment.on_s3:
        weights = Weights(client("s3"), deployment, models)
        say(weights.name, weights.state())
    stack = Stack(client("cloudformation"), deployment.name)
    found = stack.find()
    if found is None:
        say(f"stack {deployment.name}", "absent")
        return
    before = stack.parameters()
    same = before == deployment.parameters(before["CodeKey"])
    say(f"stack {deployment.name}", found["StackStatus"] + ("" if same else ", with other settings than these"))
    for resource, state in stack.resources().items():
        say(resource, state)
    outputs = stack.outputs()
    if "Endpoint" in outputs:
        endpoint = client("sagemaker").describe_endpoint(EndpointName=outputs["Endpoint"])
        count = sum(each.get("CurrentInstanceCount", 0) for each in endpoint["ProductionVariants"])
        say(f"endpoint {deployment.name}", f"{endpoint['EndpointStatus']}, {count} of {deployment.instance_type}")
        say("address", outputs["Address"])


def delete(deployment: Deployment, client: Client, models: Path, keep_weights: bool) -> None:
    weights = Weights(client("s3"), deployment, models)
    bucket, folder = deployment.code_at
    parts: dict[str, Callable[[], bool]] = {
        f"stack {deployment.name}": Stack(client("cloudformation"), deployment.name).delete,
        "function's archive": lambda: remove(client("s3"), bucket, f"{folder}/function-"),
    }
    if deployment.on_s3 and not keep_weights:
        parts[weights.name] = weights.remove
    for name, removed in parts.items():
        say(name, "deleted" if removed() else "absent")


def plan(deployment: Deployment, command: str) -> None:
    """Print the parts that the command would change, and their cost, without a request to AWS."""
    verb = "delete" if command == "delete" else "create or update"
    if deployment.on_s3 and command != "deploy":
        say(f"would {verb}", f"weights {deployment.weights}/{deployment.model_id}")
    if command == "push":
        return
    for part in (
        f"endpoint {deployment.name}, {deployment.model_id} on {deployment.instance_type}",
        f"autoscaling {deployment.instances} to {deployment.instances_at_most} instances, at "
        f"{deployment.concurrent_requests:g} concurrent requests a copy",
        f"function {deployment.name}, {'streaming' if deployment.stream else 'whole answers'}",
        f"API {deployment.name}, POST /v1/chat/completions, signed by AWS_IAM",
        "a role and a log group each for endpoint and function",
    ):
        say(f"would {verb}", part)
    print(*cost(deployment, prices()), sep="\n")


def say(what: str, how: str) -> None:
    print(f"{what}: {how}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    try:
        deployment = load(options.config)
    except Refused as error:
        return refused(error, 2)
    if options.plan:
        plan(deployment, options.command)
        return 0
    try:
        with refuse_aws_errors():
            aws = session(deployment.region)

            def client(service: str) -> Any:
                return aws.client(service, config=RETRIES)

            if options.command == "delete":
                delete(deployment, client, options.models, options.keep_weights)
            else:
                {"push": push, "deploy": deploy, "status": status}[options.command](deployment, client, options.models)
    except Refused as error:
        return refused(error, 1)
    return 0


def refused(error: Refused, status: int) -> int:
    print(f"deploy.aws: {error}", file=sys.stderr)
    return status


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.aws",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("push", "deploy", "status", "delete"))
    parser.add_argument("--config", type=Path, required=True, help="the deployment's settings; see example.toml")
    parser.add_argument("--models", type=Path, default=Path(".models"), help="folder of the built weights (.models)")
    parser.add_argument("--plan", action="store_true", help="print the parts and their cost, without a request to AWS")
    parser.add_argument("--keep-weights", action="store_true", help="with delete: leave the weights on S3")
    return parser


if __name__ == "__main__":
    sys.exit(main())
