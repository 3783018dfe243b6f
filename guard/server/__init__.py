"""Serving over HTTP: vLLM's own OpenAI server with the guard in it, proved before it is ready."""
