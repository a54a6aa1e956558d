"""The checks of deployment, each with what it runs: the one list of them."""

from __future__ import annotations

from dataclasses import dataclass

CANNOT = 77
"""The exit status of a check that could not be made here; its last line says why."""


@dataclass(frozen=True)
class Check:
    """A command, or tests by pattern, of which the quick checks leave out the slow ones. Those are what CI makes."""

    name: str
    says: str
    tests: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    quick: bool = True
    needs: str = ""
    """A file without which it cannot be made, and which `make check` makes."""


PYTHON = "{python}"
"""In a command: the interpreter that the checks run in."""

AUDIT = ".envs/audit/bin/python"

CHECKS = (
    Check(
        "refusals",
        "start-up refuses missing secrets, weights with a wrong hash, root in the image, an open store in public",
        (
            "tests/settings/test_secret_files.py",
            "tests/settings/test_gateway.py",
            "tests/stores/test_exposure.py",
            "tests/supervisor/test_weights*.py",
        ),
    ),
    Check(
        "dockerfile", "what the images are made of", ("tests/deploy/test_dockerfile.py", "tests/deploy/test_images.py")
    ),
    Check(
        "compose",
        "docker-compose.yml by docker-compose, and each command line by its program",
        ("tests/deploy/test_compose*.py", "tests/deploy/test_first_time.py"),
    ),
    Check(
        "monitoring",
        "rules, alerts and dashboards by promtool",
        ("tests/deploy/test_prometheus_rules.py", "tests/deploy/test_dashboards.py"),
    ),
    Check("kubernetes", "the chart and the engines' values", ("tests/deploy/test_kubernetes*.py",)),
    Check(
        "sagemaker",
        "the endpoint, its Lambda and the backend, against a stand-in for AWS",
        ("tests/deploy/test_aws*.py", "tests/backends/test_aws*.py"),
    ),
    Check("scale", "the proof's parts, and the simulation", ("tests/deploy/test_loadtest*.py",)),
    Check(
        "operations",
        "sizing, backup and key rotation as the guide tells them",
        (
            "tests/deploy/test_operations*.py",
            "tests/deploy/test_sizing*.py",
            "tests/deploy/test_backup*.py",
            "tests/deploy/test_rotation*.py",
        ),
    ),
    Check("threats", "what the threat model says is held off", ("tests/threats",)),
    Check(
        "requirements",
        "pinned lists, hashes, and what checks them",
        ("tests/deploy/test_requirements.py", "tests/deploy/test_supply_chain.py", "tests/deploy/test_check.py"),
    ),
    Check(
        "audit",
        "known vulnerabilities of what is pinned",
        command=(AUDIT, "requirements/audit.py"),
        needs=AUDIT,
    ),
    Check(
        "sbom",
        "what the gateway's image holds",
        command=("requirements/sbom", ".run/sbom.json"),
        quick=False,
        needs=AUDIT,
    ),
    Check("image", "the gateway's image, built, sealed and asked", command=("deploy/check-image",), quick=False),
    Check(
        "training image",
        "the image that makes the model, built and started",
        command=("deploy/check-image", "--target", "training"),
        quick=False,
    ),
    Check(
        "scale proof",
        "three gateways, one store, two model servers: limits, restarts, kills",
        command=(PYTHON, "-m", "deploy.loadtest", "prove"),
        quick=False,
    ),
)
