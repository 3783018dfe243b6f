"""A small model that forgets, on this machine: `python -m guard.demo`."""
