"""The guard inside vLLM: where every request passes.

``plugin`` is what vLLM loads; ``frontend`` judges and edits each request before it is sent to
the engine; ``core`` refuses, in the engine's own process, whatever was not judged; ``compat``
holds everything that depends on vLLM's version.
"""
