"""The offline path: train the adapters, soft prompts and heads that the run time serves."""
