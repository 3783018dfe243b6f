"""A guardrail for gateways: `guard guardrail` judges what a gateway asks about, and asks no model.

It speaks LiteLLM's Generic Guardrail API: one route, a request's texts or an answer's in, and what
is to be done out.
"""
