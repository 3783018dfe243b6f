"""The options of `guard guardrail`; importing them is light."""

import argparse
import sys
from pathlib import Path

HELP = "a guardrail that LiteLLM asks"
DESCRIPTION = """\
Serve LiteLLM's Generic Guardrail API: LiteLLM asks about each request before a model does, and
about each answer before a client gets it. Requests about an enforced target are blocked, or go on
with the target's instruction; answers that hit a check are blocked. What cannot be judged is
blocked.

It sees the texts that LiteLLM sends, and nothing else: formats, grammars and biases that steer an
answer go past it. Where you can, put `guard proxy` between LiteLLM and the model, or serve the
model with `guard serve`. Enforced targets need 'refuse' or 'instruct', or --instead refuse.

environment:
  GUARD_GUARDRAIL_KEY  what LiteLLM must show (its api_key here); 32 characters or more
  GUARD_RELOAD, GUARD_AUDIT, …  as for `guard serve`

example:
  GUARD_GUARDRAIL_KEY=$(openssl rand -hex 32) guard guardrail --bundle bundle/ --port 8103
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at (%(default)s)")
    parser.add_argument("--port", type=int, default=8103, help="port to serve at (%(default)s)")
    parser.add_argument(
        "--instead",
        choices=["refuse"],
        help="what is done where a guardrail cannot do what is asked",
    )


def run(args: argparse.Namespace) -> int:
    """Serves until it is ended.

    Raises:
        GuardError: It cannot start guarded.
    """
    from guard.guardrail.app import serve

    def report(line: str) -> None:
        print(f"guard: {line}", file=sys.stderr, flush=True)

    instead = args.instead is not None
    return serve(args.bundle, args.host, args.port, report, instead=instead)
