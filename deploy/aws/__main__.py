"""python -m deploy.aws push|deploy|status|delete --config FILE [--plan]"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.aws.api import Api
from deploy.aws.endpoint import Endpoint
from deploy.aws.errors import RETRIES, Refused, refuse_aws_errors, session
from deploy.aws.lambda_function import Function
from deploy.aws.part import Part
from deploy.aws.plan import cost, prices
from deploy.aws.scaling import Scaling
from deploy.aws.settings import Deployment, load
from deploy.aws.weights import Weights

EPILOG = """`push` uploads the weights to S3, `deploy` creates or updates the other parts, `status` prints the state of
each part, `delete` removes all parts, with the weights unless --keep-weights is given. Each can be repeated.
exit status: 0 done, 1 AWS refused, 2 the settings cannot be used"""


@dataclass(frozen=True)
class Parts:
    """The parts of a deployment, each after those that it needs."""

    weights: Weights | None
    endpoint: Endpoint
    scaling: Scaling
    function: Function
    api: Api

    @property
    def behind_api(self) -> tuple[Part, ...]:
        return (self.endpoint, self.scaling, self.function, self.api)

    @property
    def all(self) -> tuple[Part, ...]:
        return (*((self.weights,) if self.weights else ()), *self.behind_api)


def parts(deployment: Deployment, models: Path, client: Any, poll: dict[str, int] | None = None) -> Parts:
    """Return the parts. `client` returns a boto3 client by service name, or None for a plan."""
    aws_lambda = client("lambda")
    return Parts(
        Weights(client("s3"), deployment, models) if deployment.on_s3 else None,
        Endpoint(client("sagemaker"), deployment, poll),
        Scaling(client("application-autoscaling"), deployment),
        Function(aws_lambda, deployment),
        Api(client("apigateway"), aws_lambda, deployment),
    )


def push(made: Parts) -> None:
    if made.weights is None:
        raise Refused("weights: upload those of a hub repository with `python -m training publish --push-to`")
    ensure(made.weights)


def deploy(made: Parts) -> None:
    if made.weights is not None and made.weights.state() == "absent":
        raise Refused(f"{made.weights.name} do not exist: upload them with `push`")
    if made.endpoint.differs():
        # SageMaker refuses to change the instance type of an endpoint with autoscaling.
        say(made.scaling.name, "taken off while the endpoint changes" if made.scaling.remove() else "absent")
    for part in made.behind_api:
        ensure(part)
    say(made.api.name, made.api.state())


def status(made: Parts) -> None:
    for part in made.all:
        say(part.name, part.state())


def delete(made: Parts, keep_weights: bool) -> None:
    kept = made.behind_api if keep_weights else made.all
    for part in (made.scaling, *(part for part in reversed(kept) if part is not made.scaling)):
        say(part.name, "taken back" if part.remove() else "was not there")


def ensure(part: Part) -> None:
    say(part.name, part.ensure())


def say(what: str, how: str) -> None:
    print(f"{what}: {how}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    try:
        deployment = load(options.config)
    except Refused as error:
        return refused(error, 2)
    if options.plan:
        return plan(deployment, options.command, options.models)
    try:
        with refuse_aws_errors():
            aws = session(deployment.region)
            made = parts(deployment, options.models, lambda service: aws.client(service, config=RETRIES))
            if options.command == "delete":
                delete(made, options.keep_weights)
            else:
                {"push": push, "deploy": deploy, "status": status}[options.command](made)
    except Refused as error:
        return refused(error, 1)
    return 0


def plan(deployment: Deployment, command: str, models: Path) -> int:
    """Print the parts that the command would change, and their cost, without a request to AWS."""
    made = parts(deployment, models, dict[str, None]().get)
    for part in made.all:
        if command != "push" or part is made.weights:
            print(f"{'would be taken back' if command == 'delete' else 'would be there'}: {part.name}")
    if command != "push":
        print(*cost(deployment, prices()), sep="\n")
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
