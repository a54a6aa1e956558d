"""The settings of `conviction up` in addition to the gateway's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from app.settings.loading import EnvironmentSettings


class SupervisorSettings(EnvironmentSettings):
    models: Path = Path(".models")
    """Folder of the weights that were rebuilt on this machine."""
    run_dir: Path = Path(".run")
    """Folder of logs, of vLLM's compile cache and, unless CONVICTION_STORE_DIR is set, of the store."""
    vllm_python: Path = Path(".envs/vllm/bin/python")
    """The interpreter of the environment in which vLLM is installed."""
    vllm_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """vLLM's port on 127.0.0.1; 0: any free one."""
    vllm_cache_gib: Annotated[int, Field(gt=0)] = 1
    """Memory for attention's keys and values; a thousand tokens of the default model take 25 MB."""
