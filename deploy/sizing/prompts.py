"""Questions for `vllm bench serve --dataset-name custom`, a line each: `python -m deploy.sizing.prompts brief 2000`.

They are the worked example's, each of another ticker, so that what the prefix cache holds of them is what it would.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import ANSWER, Detail, messages
from deploy.sizing.floor import figures


def lines(detail: Detail, number: int) -> Iterator[str]:
    """Yield prompts with the output length that `--ignore-eos` enforces."""
    request = figures().requests.brief if detail == "brief" else figures().requests.full
    for place in range(number):
        [message] = messages(EXAMPLE, f"T{place}", detail)
        yield json.dumps({"prompt": message["content"], "output_tokens": request.answer})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m deploy.sizing.prompts", description=__doc__)
    parser.add_argument("detail", choices=sorted(ANSWER))
    parser.add_argument("number", type=int)
    given = parser.parse_args()
    print("\n".join(lines(given.detail, given.number)))
