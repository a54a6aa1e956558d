"""vLLM's start-up time and speed by option: `python -m bench.vllm`."""
