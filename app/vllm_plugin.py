"""A vLLM plugin, loaded in each of its processes: lets vLLM 0.32 load the code that it compiled at an earlier start.

On a CPU vLLM compiles with PyTorch's own inductor backend and saves the result, but its loader then calls
`finalize_loading`, which only functions of vLLM's own backend have ("'function' object has no attribute
'finalize_loading'" in its log). It then compiles again at every start, for a minute and more.
docs/decisions/vllm-aot-cache.md has the measurement.
"""

from __future__ import annotations

from functools import wraps
from typing import Any


def register() -> None:
    """Give each loaded function that lacks it a `finalize_loading` that does nothing."""
    import torch

    load = torch.compiler.load_compiled_function

    @wraps(load)
    def loaded(*arguments: Any, **named: Any) -> Any:
        function = load(*arguments, **named)
        compiled = getattr(getattr(function, "_artifacts", None), "compiled_fn", None)
        if compiled is not None and not hasattr(compiled, "finalize_loading"):
            compiled.finalize_loading = lambda _config: None
        return function

    if not hasattr(load, "__wrapped__"):
        torch.compiler.load_compiled_function = loaded
