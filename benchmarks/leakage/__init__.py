"""Leakage: what systems still tell of what is to be forgotten, and what of the rest they keep."""
