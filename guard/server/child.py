"""The process that runs vLLM's server, started by `guard serve`.

It tells its parent where it will listen, as vLLM's own parser understood the flags, and puts the
gate before the server.
"""

import ctypes
import json
import os
import signal
import sys
from typing import Any

REPORT = "GUARD_REPORT_FD"
GATE = "guard.server.gate.ReadyGate"
HEALTH = "guard.server.health.Health"
SCORES = "guard.server.scoring.ScoreRoute"


def main() -> None:
    """Runs vLLM's server with the gate before it."""
    _end_with_parent()
    from guard.engine import compat, plugin
    from guard.errors import EngineError
    from guard.server.drain import SECONDS

    plugin.register()  # before the flags are read: refuse an unknown vLLM at once

    def ready(args: Any) -> None:
        for flag in ("grpc", "headless", "data_parallel_multi_port_external_lb"):
            if getattr(args, flag, False):
                raise EngineError(f"--{flag.replace('_', '-')} cannot be proved from outside yet")
        # The last one is the outermost.
        args.middleware = [*args.middleware, SCORES, HEALTH, GATE]
        report = {
            "host": args.host,
            "port": args.port,
            "uds": args.uds,
            "tls": bool(args.ssl_certfile),
            "root_path": args.root_path or "",
            "keys": [key for key in (args.api_key or [os.environ.get("VLLM_API_KEY")]) if key],
            "model": (args.served_model_name or [args.model_tag or args.model])[0],
            "processes": compat.front_ends(args),
            "drain": args.shutdown_timeout,
        }
        args.shutdown_timeout = 0  # the parent has drained before it tells vLLM to end
        with open(int(os.environ.pop(REPORT)), "w", encoding="utf-8") as pipe:
            json.dump(report, pipe)

    try:
        compat.run_server(sys.argv[1:], ready, shutdown_timeout=SECONDS)
    except EngineError as error:
        sys.exit(f"guard: {error}")


def _end_with_parent() -> None:
    """Asks Linux for a signal when the parent dies, so that a killed parent leaves no server."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    main()
