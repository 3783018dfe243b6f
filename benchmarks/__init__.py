"""What Guard costs and how well it forgets, measured: `python -m benchmarks`."""
