"""The list of deployment checks, each with what it runs."""

from __future__ import annotations

from dataclasses import dataclass

CANNOT = 77
"""Exit status of a check that cannot run on this machine; the last line of its output gives the reason."""


@dataclass(frozen=True)
class Check:
    """A command or a set of test files. CI runs the quick checks, without their slow tests."""

    name: str
    says: str
    tests: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    quick: bool = True
    needs: str = ""
    """A file that the check needs and `make check` builds."""


PYTHON = "{python}"
"""Placeholder in a command for the interpreter that runs the checks."""

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
        "dockerfile",
        "the contents of the images, and the training image's commands",
        ("tests/deploy/test_dockerfile.py", "tests/deploy/test_images.py", "tests/deploy/test_training_image.py"),
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
    Check("kubernetes", "the chart and the engines' values", ("tests/deploy/test_helm_*.py",)),
    Check(
        "sagemaker",
        "the endpoint, its Lambda and the backend, against a stand-in for AWS",
        ("tests/deploy/test_aws*.py", "tests/backends/test_sagemaker*.py"),
    ),
    Check("scale", "the parts of the scale proof, and the simulation", ("tests/deploy/test_loadtest*.py",)),
    Check(
        "operations",
        "sizing, backup and key rotation as in the guides",
        (
            "tests/deploy/test_sizing*.py",
            "tests/deploy/test_backup*.py",
            "tests/deploy/test_rotation*.py",
        ),
    ),
    Check("threats", "the attacks in the threat model", ("tests/threats",)),
    Check(
        "requirements",
        "pinned lists, hashes, and their checks",
        ("tests/deploy/test_requirements.py", "tests/deploy/test_supply_chain.py", "tests/deploy/test_check.py"),
    ),
    Check(
        "audit",
        "known vulnerabilities of pinned packages",
        command=(AUDIT, "requirements/audit.py"),
        needs=AUDIT,
    ),
    Check(
        "sbom",
        "the packages in the gateway's image",
        command=("requirements/sbom", ".run/sbom.json"),
        quick=False,
        needs=AUDIT,
    ),
    Check("image", "the gateway's image: built, run sealed, and queried", command=("deploy/check-image",), quick=False),
    Check(
        "training image",
        "the training image: built, and its first stages run",
        command=("deploy/check-image", "--target", "training"),
        quick=False,
    ),
    Check(
        "scale proof",
        "three gateways, one store, two model servers: limits, restarts, kills",
        command=(PYTHON, "-m", "deploy.loadtest", "prove"),
        quick=False,
    ),
    Check(
        "slow tests",
        "the proofs that `make test` leaves out: chaos at full size, every architecture through AutoAWQ",
        command=("make", "test-slow"),
        quick=False,
    ),
)
