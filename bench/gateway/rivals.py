"""Other gateways, one worker each, as their documentation starts them; gateways.py lists what each does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from shutil import which
from string import Template

from bench.gateway.programs import HERE, NotInstalled, free_port, running
from bench.gateway.systems import KEY, Environment, System
from bench.gateway.workload import KEY as UPSTREAM_KEY
from bench.gateway.workload import MODEL, chat

ADMIN_KEY = "sk-admin-0123456789abcdef012345678"
AMPLE_RATE = {"RATE_LIMIT_RPS": "100000000", "RATE_LIMIT_BURST": "100000000"}
SETUPS = HERE / "setups"


def installed(environment: Environment, name: str, program: str) -> str:
    """Return the path of a rival's program. Raises `NotInstalled`."""
    path = environment.environments / name / program
    if not path.exists():
        raise NotInstalled(f"{name} is not installed; `make .envs/{name}/.complete` installs it")
    return str(path)


@contextmanager
def served(
    name: str,
    environment: Environment,
    command: Sequence[str],
    port: int,
    *,
    ready: str,
    variables: Mapping[str, str] | None = None,
    key: str = UPSTREAM_KEY,
    model: str = MODEL,
    header: str = "",
) -> Iterator[System]:
    """Start a gateway and wait until its path `ready` answers. Without `key` clients bear the upstream's own."""
    log = environment.folder / f"{name}.log"
    with running(command, environment.cores, log, variables or {}) as process:
        process.wait_for(f"http://127.0.0.1:{port}{ready}")
        whole, stream = (replace(chat(environment.folder, model, each), header=header) for each in (False, True))
        yield System(name, port, key, whole, stream, process)


def litellm(environment: Environment, setup: str) -> AbstractContextManager[System]:
    """LiteLLM's proxy by setups/SETUP.yaml."""
    port = free_port()
    variables = {
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "UPSTREAM_URL": f"{environment.chat.url}/v1",
        "UPSTREAM_KEY": UPSTREAM_KEY,
        "GATEWAY_KEY": KEY,
        "MASTER_KEY": ADMIN_KEY,
        "STORE_PORT": str(environment.store_port),
    }
    command = [installed(environment, "litellm", "bin/litellm"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", "1", "--config", str(SETUPS / f"{setup}.yaml")]
    name = "litellm" if setup == "full" else f"litellm_{setup}"
    ready = "/health/liveliness"
    return served(name, environment, command, port, ready=ready, variables=variables, key=KEY, model="gpt-4")


def smg(environment: Environment) -> AbstractContextManager[System]:
    """SGLang's model gateway, without the download of a tokenizer."""
    port = free_port()
    command = [installed(environment, "smg", "bin/smg"), "launch", *_routing(environment, port)]
    return served("smg", environment, [*command, "--disable-tokenizer-autoload"], port, ready="/readiness")


def vllm_router(environment: Environment) -> AbstractContextManager[System]:
    port = free_port()
    command = [installed(environment, "vllm-router", "bin/vllm-router"), *_routing(environment, port)]
    return served("vllm_router", environment, command, port, ready="/readiness")


def _routing(environment: Environment, port: int) -> list[str]:
    """Return the options that smg and vllm-router share."""
    options = {
        "--worker-urls": environment.chat.url,
        "--policy": "round_robin",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--prometheus-host": "127.0.0.1",
        "--prometheus-port": str(free_port()),
    }
    return [word for option in options.items() for word in option]


def ferrogw(environment: Environment) -> AbstractContextManager[System]:
    """Ferro Labs' gateway by setups/ferrogw.yaml. It listens on all addresses, having no option for one."""
    port = free_port()
    variables = {
        "PORT": str(port),
        "GATEWAY_CONFIG": str(SETUPS / "ferrogw.yaml"),
        "MASTER_KEY": KEY,
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": environment.chat.url,
        **AMPLE_RATE,
    }
    command = [installed(environment, "ferrogw", "bin/ferrogw"), "serve"]
    return served("ferrogw", environment, command, port, ready="/readyz", variables=variables, key=KEY, model="gpt-4")


def portkey(environment: Environment) -> AbstractContextManager[System]:
    """Portkey's gateway, which learns the upstream from headers."""
    port, node = free_port(), which("node")
    if node is None:
        raise NotInstalled("portkey needs Node.js, whose program `node` is not on the PATH")
    program = installed(environment, "portkey", "node_modules/@portkey-ai/gateway/build/start-server.js")
    command = [node, "--require", str(SETUPS / "loopback.cjs"), program, f"--port={port}", "--headless"]
    header = f"x-portkey-provider: openai\r\nx-portkey-custom-host: {environment.chat.url}/v1"
    return served("portkey", environment, command, port, ready="/", header=header)


def envoy(environment: Environment) -> AbstractContextManager[System]:
    """Envoy as a plain proxy, by setups/envoy.yaml: what any gateway costs at least."""
    port = free_port()
    template = Template((SETUPS / "envoy.yaml").read_text())
    setup = template.substitute(port=port, upstream_port=environment.chat.port)
    command = [installed(environment, "envoy", "bin/envoy"), "--config-yaml", setup, "--concurrency", "1"]
    command += ["--disable-hot-restart", "--log-level", "error"]
    return served("envoy", environment, command, port, ready="/v1/models")
