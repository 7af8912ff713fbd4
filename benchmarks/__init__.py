"""Ours against what people would otherwise use, measured in one run: `python -m benchmarks`."""
