"""The options of `guard proxy`; importing them is light."""

import argparse
import os
import sys
from pathlib import Path

from guard.errors import EngineError, GuardError
from guard.handover import handover
from guard.secret import secret

HELP = "a guard in front of a server that cannot be changed"
DESCRIPTION = """\
Stand in front of an OpenAI-compatible server that cannot be changed: read each request, judge it,
do what HTTP allows about it, and read the answer before it leaves. Whatever is not known to be
harmless is refused. Let nobody reach the server but the proxy: past it, nothing is guarded.

It says at the start what each target gets, and does not start where an enforced one could not be
kept: refuse and instruct always can, penalize in front of vLLM (as bad_words), adapter with
--adapter. The rest needs `guard serve` behind it (GUARD_VERDICT_KEY), or --instead refuse.

SIGTERM ends it when the requests that have begun are finished, or after --drain-timeout; meanwhile
/health says 503, and new requests are told to come again.

environment:
  GUARD_UPSTREAM_KEY  what the proxy shows the server, in place of what clients show
  GUARD_PROXY_KEY     what clients must show the proxy; with neither, theirs is passed on
  GUARD_VERDICT_KEY   the server is `guard serve` with the same key: it is told, signed, what is
                      found, and does about it what HTTP has no field for
  GUARD_LOG           text, or json: the guard's log lines as JSON
  GUARD_AUDIT, …      the audit, as `guard serve` has it (docs/operations.md)

examples:
  guard proxy --upstream http://localhost:8000 --bundle bundle/
  guard proxy --upstream http://vllm:8000 --bundle bundle/ --served-model-name llama \\
      --adapter book=forget-book --instead refuse --port 8100
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--upstream", required=True, metavar="URL", help="the server's address")
    parser.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at (%(default)s)")
    parser.add_argument("--port", type=int, default=8100, help="port to serve at (%(default)s)")
    parser.add_argument(
        "--served-model-name", action="append", default=[], metavar="NAME",
        help="what the server calls the bundle's model (as the policy does)",
    )  # fmt: skip
    parser.add_argument(
        "--adapter", action="append", default=[], metavar="TARGET=NAME",
        help="an adapter that the server has loaded for a target",
    )  # fmt: skip
    parser.add_argument(
        "--instead", choices=["refuse"], help="what is done where HTTP cannot do what a target asks"
    )
    parser.add_argument(
        "--continue-final-message", action="store_true",
        help="the server is a vLLM that can go on with an answer: rollbacks are done so",
    )  # fmt: skip
    parser.add_argument(
        "--embeddings", action="append", default=[], metavar="NAME",
        help="a model that embeddings may be asked of (none)",
    )  # fmt: skip
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FOLDER",
        help="the served model's folder: token ids can be read then, and counts are exact",
    )  # fmt: skip
    parser.add_argument(
        "--pass-keys", action="store_true",
        help="pass clients' own keys on, though GUARD_UPSTREAM_KEY is set",
    )  # fmt: skip
    parser.add_argument(
        "--concurrency", type=int, default=256, metavar="N",
        help="requests at once; more are told to come again (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--audit", type=Path, metavar="FOLDER",
        help="where decisions are recorded (as the environment says)",
    )  # fmt: skip
    parser.add_argument(
        "--metrics-port", type=int, metavar="PORT",
        help="serve Prometheus metrics there (not served): who reads them learns the targets",
    )  # fmt: skip
    parser.add_argument(
        "--metrics-host", default="127.0.0.1", metavar="HOST",
        help="address to serve them at (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--drain-timeout", type=float, default=30.0, metavar="SECONDS",
        help="for requests that have begun when it is to end (%(default)g)",
    )  # fmt: skip
    for name, seconds, about in (
        ("connect", 5.0, "a connection to the server; tried three times"),
        ("first-byte", 600.0, "the first byte of a reply; never tried again"),
        ("between-bytes", 60.0, "each further piece of one"),
    ):
        parser.add_argument(
            f"--{name}-timeout", type=float, default=seconds, metavar="SECONDS",
            help=f"for {about} (%(default)g)",
        )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serves until it is ended.

    Raises:
        GuardError: An option is wrong, or it cannot start guarded.
    """
    from guard.proxy.server import Place, serve
    from guard.proxy.start import PROXY_KEY, UPSTREAM_KEY, Settings
    from guard.proxy.upstream import Patience

    waits = (args.connect_timeout, args.first_byte_timeout, args.between_bytes_timeout)
    if min(waits) <= 0 or args.concurrency < 1 or args.drain_timeout < 0:
        raise GuardError("give timeouts above 0, and --concurrency 1 or more")
    settings = Settings(
        args.upstream,
        args.bundle,
        served=args.served_model_name,
        adapters=args.adapter,
        instead=args.instead is not None,
        embeddings=args.embeddings,
        tokenizer=args.tokenizer,
        pass_keys=args.pass_keys,
        most=args.concurrency,
        patience=Patience(*waits),
        goes_on=args.continue_final_message,
        key=os.environ.get(UPSTREAM_KEY) or None,
        own=secret(PROXY_KEY, EngineError),
        handover=handover(EngineError),
    )

    def report(line: str) -> None:
        print(f"guard: {line}", file=sys.stderr, flush=True)

    metrics = (args.metrics_host, args.metrics_port)
    place = Place(args.host, args.port, *metrics, args.drain_timeout, args.audit)
    return serve(settings, place, report)
