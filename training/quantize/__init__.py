"""Quantization of merged weights to 4-bit AWQ, and dequantization to float32."""
