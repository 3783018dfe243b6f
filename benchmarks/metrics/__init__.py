"""Measures of an answer, one file each."""
