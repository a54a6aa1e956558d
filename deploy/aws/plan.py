"""The hourly cost of a deployment, from recorded prices; no request to AWS."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from deploy.aws.settings import Deployment

PRICES = Path(__file__).with_name("prices.toml")
PAGE = "https://aws.amazon.com/sagemaker/ai/pricing/"


class Prices(BaseModel):
    """USD an hour by region and instance type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: date
    source: str
    usd_per_hour: dict[str, dict[str, Annotated[Decimal, Field(gt=0)]]]


def prices() -> Prices:
    return Prices.model_validate(tomllib.loads(PRICES.read_text("utf-8")))


def cost(deployment: Deployment, listed: Prices) -> Iterator[str]:
    """Yield lines with the cost an hour and the source of the prices."""
    each = listed.usd_per_hour.get(deployment.region, {}).get(deployment.instance_type)
    if each is None:
        yield f"cost: no price of {deployment.instance_type} in {deployment.region} is recorded here; see {PAGE}"
    else:
        least, most = each * deployment.instances, each * deployment.instances_at_most
        yield (
            f"cost: {least} USD an hour for {deployment.instances} of {deployment.instance_type}, "
            f"{most} at most for {deployment.instances_at_most}, with or without requests ({least * 24} a day at least)"
        )
        yield f"      prices as of {listed.as_of}: {listed.source}"
    yield "      plus usage: Lambda, API Gateway, S3, CloudWatch's logs"
