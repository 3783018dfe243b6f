"""The audit: an account of changes and decisions in which any edit or gap is found.

A folder holds one chain a writer (`chain`); a chain is segments of JSON lines, each record with the
hash of the one before (`record`). `verify` reads all of it, `export` answers from it.
"""
