"""The gateway's chart: valid manifests for every option, safe defaults, and strict checks of values."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from app.settings.gateway import Settings
from deploy.helm import settings as allowed
from deploy.helm.charts import KUBERNETES
from deploy.helm.helm import CHART, Document, Refused, example, lint, one, rendered
from tests.deploy.test_prometheus_rules import BASE

ROOT = Path(__file__).parents[2]
CUSTOM = {"ServiceMonitor", "PrometheusRule"}
"""Kinds without a schema in this repository; test_helm_engines.py checks them with CRDs."""


def changed(*changes: tuple[str, Any]) -> Document:
    """example.yaml with other values at dotted places."""
    values = copy.deepcopy(example())
    for place, value in changes:
        *path, last = place.split("/")
        principal = values
        for key in path:
            principal = principal.setdefault(key, {})
        principal[last] = value
    return values


CHOICES = {
    "as the example has it": changed(),
    "everything off": changed(
        ("autoscaling/enabled", False),
        ("disruptionBudget/enabled", False),
        ("networkPolicy/enabled", False),
        ("monitoring", {}),
        ("secrets/openai/name", ""),
    ),
    "experiments": changed(("experiments", json.loads((ROOT / "deploy/demo/experiments.json").read_text()))),
    "closed to all": changed(
        ("networkPolicy", {"from": [], "metricsFrom": "", "https": False, "redis": {"cidr": "10.1.2.3/32"}})
    ),
    "other places": changed(
        ("image/digest", "sha256:" + "0" * 64),
        ("imagePullSecrets", [{"name": "registry"}]),
        ("nodeSelector", {"kubernetes.io/arch": "amd64"}),
        ("tolerations", [{"key": "gateways", "operator": "Exists"}]),
        ("priorityClassName", "high"),
        ("podAnnotations", {"a": "b"}),
        ("podLabels", {"team": "research"}),
        ("serviceAccount/annotations", {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"}),
        ("service/annotations", {"a": "b"}),
        ("secrets/redisPassword", {"name": "valkey", "key": "password"}),
        ("secrets/decisionLogUrl", {"name": "postgresql", "key": "uri"}),
        ("secrets/budgetWebhookUrl", {"name": "budgets", "key": "url"}),
        ("secrets/budgetWebhookSecret", {"name": "budgets", "key": "secret"}),
        ("networkPolicy/extraEgress", [{"ports": [{"port": 4318}]}]),
        ("settings/CONVICTION_MARKET", "sample"),
    ),
    "gpt-4 alone": changed(("settings", {"CONVICTION_DEFAULT_BACKEND": "gpt-4"})),
}


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return rendered(CHART, example())


@pytest.fixture(scope="module")
def pod(documents: list[Document]) -> Document:
    found: Document = one(documents, "Deployment")["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("name", CHOICES)
def test_the_manifests_are_valid(name: str) -> None:
    lint(CHART, CHOICES[name])
    made = rendered(CHART, CHOICES[name])
    for document in made:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    assert {"Deployment", "Service", "ServiceAccount"} <= {document["kind"] for document in made}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("image/repository", ""), "image.repository"),
        (("image/tag", ""), "image.tag or image.digest"),
        (("image/tag", "latest"), "image.tag"),
        (("secrets/apiKeys/name", ""), "secrets.apiKeys.name"),
        (("secrets/redisUrl/name", ""), "secrets.redisUrl.name"),
        (("secrets/redisUrl/name", "Not a name"), "secrets.redisUrl.name"),
        (("monitoring/metricsKey/name", ""), "monitoring.metricsKey.name"),
        (("monitoring/runbookBase", ""), "monitoring.runbookBase"),
        (("monitoring/runbookBase", "docs/how-to"), "monitoring.runbookBase"),
        (("replicas", 0), "replicas"),
        (("autoscaling/minReplicas", 0), "autoscaling.minReplicas"),
        (("autoscaling/maxReplicas", 1), "autoscaling.maxReplicas"),
        (("drainSeconds", -1), "drainSeconds"),
        (("backendTimeoutSeconds", 601), "backendTimeoutSeconds"),
        (("settings/CONVICTION_HOST", "0.0.0.0"), "CONVICTION_HOST"),
        (("settings/CONVICTION_API_KEYS_FILE", "/keys"), "CONVICTION_API_KEYS_FILE"),
        (("settings/OPENAI_API_KEY", "sk-1"), "OPENAI_API_KEY"),
        (("settings/REDIS_URL", "redis://:hush@store"), "REDIS_URL"),
        (("settings/CONVICTION_GPT4_MODLE", "gpt-4.1"), "CONVICTION_GPT4_MODLE"),
        (("settings/CONVICTION_CAPACITY_TOKENS_PER_HOUR", 1600000), "CONVICTION_CAPACITY_TOKENS_PER_HOUR"),
        (("settings", {"CONVICTION_VLLM_URLS": "http://vllm/v1"}), "CONVICTION_HOSTING_USD_PER_HOUR"),
        (("settings", {}), "CONVICTION_DEFAULT_BACKEND"),
        (("settings/CONVICTION_DEFAULT_BACKEND", "gpt-4"), None),
        (("networkPolicy/redis/cidr", "valkey"), "networkPolicy.redis.cidr"),
        (("networkPolicy/form", ["ingress-nginx"]), "form"),
        (("disruptionBudget/maxUnavailable", 0), "disruptionBudget.maxUnavailable"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
def test_an_invalid_value_is_refused_by_name(change: tuple[str, Any], message: str | None) -> None:
    if message is None:
        assert rendered(CHART, changed(change))
        return
    with pytest.raises(Refused, match=message.replace(".", r"\.")):
        rendered(CHART, changed(change))


def test_a_chart_without_values_names_the_required_ones() -> None:
    with pytest.raises(Refused) as refused:
        rendered(CHART, {})
    assert all(name in str(refused.value) for name in ("image.repository", "secrets.apiKeys.name", "secrets.redisUrl"))


def test_without_any_backend_there_is_nothing_to_install() -> None:
    with pytest.raises(Refused, match="the gateway has no backend"):
        rendered(CHART, changed(("settings", {}), ("secrets/openai/name", "")))


def test_the_pod_has_no_unneeded_privileges(pod: Document) -> None:
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert "limits" in container["resources"] and "requests" in container["resources"]


@pytest.mark.parametrize(("drain", "timeout"), [(15, 60), (30, 600)])
def test_a_gateway_that_drains_is_not_killed(drain: int, timeout: int) -> None:
    made = rendered(CHART, changed(("drainSeconds", drain), ("backendTimeoutSeconds", timeout)))
    pod = one(made, "Deployment")["spec"]["template"]["spec"]
    given = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert (given["CONVICTION_DRAIN_S"], given["CONVICTION_BACKEND_TIMEOUT_S"]) == (str(drain), str(timeout))
    assert pod["terminationGracePeriodSeconds"] >= drain + timeout + 5 + 10


@pytest.mark.parametrize("name", CHOICES)
def test_each_variable_is_one_that_the_gateway_reads(name: str) -> None:
    [container] = one(rendered(CHART, CHOICES[name]), "Deployment")["spec"]["template"]["spec"]["containers"]
    fields = Settings.model_fields
    read = {allowed.variable(field) for field in fields} | set(allowed.PROXIES)
    secret = {f"{allowed.variable(field)}_FILE" for field in fields if "SecretStr" in str(fields[field].annotation)}
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names))
    assert set(names) <= read | secret
    assert all("valueFrom" not in each for each in container["env"])


def test_the_schema_allows_the_gateway_s_settings_and_no_others() -> None:
    """Where this fails: python -m deploy.helm settings."""
    assert allowed.in_schema(json.loads(allowed.SCHEMA.read_text())) == allowed.allowed()


def test_each_monitor_and_rule_uses_the_same_job(documents: list[Document]) -> None:
    monitor, service = one(documents, "ServiceMonitor")["spec"], one(documents, "Service")
    labels = service["metadata"]["labels"]
    assert labels[monitor["jobLabel"]] == "conviction"
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    [endpoint] = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["authorization"]["credentials"] == {"name": "conviction", "key": "metrics_key"}


@pytest.mark.parametrize("name", ["rules", "spend", "alerts"])
def test_rules_are_those_of_compose(documents: list[Document], name: str) -> None:
    made = one(documents, "PrometheusRule", name)["spec"]
    text = (ROOT / f"deploy/compose/prometheus/{name}.yml").read_text()
    assert made == yaml.safe_load(text.replace(BASE, example()["monitoring"]["runbookBase"]))
    assert made["groups"]


def test_dashboards_are_those_of_compose(documents: list[Document]) -> None:
    made = one(documents, "ConfigMap", "dashboards")["data"]
    paths = (ROOT / "deploy/compose/grafana/dashboards").glob("*.json")
    files = {f"conviction-{path.name}": path.read_text() for path in paths}
    assert made == files
    assert len(made) >= 4
    assert sum(map(len, made.values())) < 1_000_000, "a ConfigMap holds a mebibyte"


def test_ingress_is_limited_to_named_namespaces(documents: list[Document]) -> None:
    policy = one(documents, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    [rule] = policy["ingress"]
    pending = {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in rule["from"]}
    assert pending == {"ingress-nginx", "monitoring"}
    assert one(rendered(CHART, CHOICES["closed to all"]), "NetworkPolicy")["spec"]["ingress"] == []


def test_egress_is_limited_to_dependencies(documents: list[Document]) -> None:
    egress = one(documents, "NetworkPolicy")["spec"]["egress"]
    assert all(rule["to"] and rule["ports"] for rule in egress)
    assert [{port["port"] for port in rule["ports"]} for rule in egress] == [{53}, {6379}, {8000}, {443}]
    public = egress[-1]["to"][0]["ipBlock"]
    assert {"169.254.0.0/16", "10.0.0.0/8"} <= set(public["except"])
