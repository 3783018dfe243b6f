"""The options of `guard admin`; importing them is light."""

import argparse
import sys
from pathlib import Path

from guard.errors import GuardError

HELP = "an admin API and a console"
DESCRIPTION = """\
Serve an API and a page (http://HOST:PORT/guard/) for whoever looks after a bundle: its targets and
their modes, what is decided, what thresholds rest on, which process serves which version, and the
audit. It is a process and a port of its own, so no client of the model can reach it by accident;
put TLS in front where it is not used from this machine.

It changes the bundle in place, as `guard targets` and `guard calibrate` do: whole or not at all,
one change at a time. Servers that watch the bundle's folder follow by themselves. Changes are
recorded under the name of whoever made them.

environment:
  GUARD_ADMIN_TOKEN    what requests must show (Authorization: Bearer …), 32 characters or more
  GUARD_ADMIN_TOKENS   or a JSON file, {"NAME": "TOKEN", …}, for several admins
  GUARD_GUARDED_KEY, GUARD_UNGUARDED_KEY   what the two servers that are asked are shown

examples:
  GUARD_ADMIN_TOKEN=$(openssl rand -hex 32) guard admin --bundle bundle/ --policy policy.yaml \\
      --audit audit/ --endpoint http://localhost:8000
  guard admin --bundle bundle/ --policy policy.yaml --leakage leakage.json \\
      --guarded http://localhost:8000 --unguarded http://localhost:8001
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument("--policy", type=Path, required=True, metavar="POLICY.yaml")
    parser.add_argument(
        "--audit", type=Path, metavar="FOLDER",
        help="record changes there, and show what it tells (default: GUARD_AUDIT, if set)",
    )  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at (%(default)s)")
    parser.add_argument("--port", type=int, default=8102, help="port to serve at (%(default)s)")
    parser.add_argument(
        "--who", metavar="NAME", help="who has GUARD_ADMIN_TOKEN (GUARD_AUDIT_WHO, or user@host)"
    )
    parser.add_argument(
        "--endpoint", action="append", default=[], metavar="URL",
        help="a server of this bundle, whose health and metrics are shown",
    )  # fmt: skip
    parser.add_argument("--guarded", metavar="URL", help="a guarded server, to ask …")
    parser.add_argument("--unguarded", metavar="URL", help="… beside one without a guard")
    parser.add_argument(
        "--leakage", type=Path, metavar="FILE", help="the latest of `python -m benchmarks leakage`"
    )


def run(args: argparse.Namespace) -> int:
    """Serves until it is ended.

    Raises:
        GuardError: An option is wrong, or it cannot start.
    """
    from guard.admin.start import Settings, serve
    from guard.ending import ends_well

    if not 0 < args.port < 1 << 16:
        raise GuardError(f"--port {args.port}: give 1 to 65535")
    settings = Settings(
        args.bundle,
        args.policy,
        args.audit,
        endpoints=args.endpoint,
        guarded=args.guarded,
        unguarded=args.unguarded,
        leakage=args.leakage,
    )

    def report(line: str) -> None:
        print(f"guard: {line}", file=sys.stderr, flush=True)

    with ends_well():
        return serve(settings, args.who, args.host, args.port, report)
