"""The engines' values, as several tests read them."""

from __future__ import annotations

from deploy.helm import charts, kustomize
from deploy.helm.helm import Document

PRODUCTION_STACK, MODELSERVICE, ROUTER = charts.ALL


def server() -> Document:
    """Return production-stack/values.yaml's settings of model servers."""
    [found] = PRODUCTION_STACK.load()["servingEngineSpec"]["modelSpec"]
    return dict(found)


def container() -> Document:
    """Return a server's container in llm-d/modelservice.yaml."""
    [found] = MODELSERVICE.load()["decode"]["containers"]
    return dict(found)


def arguments() -> list[list[str]]:
    """Return vLLM's arguments by each chart: the model, then the values' arguments."""
    given = server()
    sizes = given["vllmConfig"]
    by_chart = [f"--max-model-len={sizes['maxModelLen']}", f"--max-num-seqs={sizes['maxNumSeqs']}"]
    by_chart += ["--enable-prefix-caching"] if sizes["enablePrefixCaching"] else []
    other = MODELSERVICE.load()["modelArtifacts"]
    served = ["--served-model-name", other["name"]]
    return [
        [given["modelURL"], *by_chart, *sizes["extraArgs"]],
        [other["uri"].replace("pvc://conviction-weights", "/model-cache"), *served, *container()["args"]],
    ]


def served() -> str:
    """Return the model id that all files must name."""
    return str(MODELSERVICE.load()["modelArtifacts"]["name"])


def stoppings() -> list[tuple[int, int, int]]:
    """Return of each engine's servers: seconds of the preStop hook, of vLLM's shutdown, and of the pod to end."""
    found = []
    added = {each["path"].rpartition("/")[2]: each["value"] for each in server_patch()}
    decode = MODELSERVICE.load()["decode"]
    for hooks, given, grace in (
        (added["lifecycle"], arguments()[0], added["terminationGracePeriodSeconds"]),
        (container()["extraConfig"]["lifecycle"], arguments()[1], decode["terminationGracePeriodSeconds"]),
    ):
        [timeout] = [flag.partition("=")[2] for flag in given if flag.startswith("--shutdown-timeout=")]
        program, seconds = hooks["preStop"]["exec"]["command"]
        assert program == "sleep"
        found.append((int(seconds), int(timeout), grace))
    return found


def server_patch() -> list[Document]:
    """Return what is added to production-stack's servers."""
    return kustomize.patches(PRODUCTION_STACK.folder)["vllm-mistral-deployment-vllm"]
