"""`python -m guard.demo`: the same questions to a model as it is, and to the same model guarded."""

import argparse
import hashlib
import io
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from guard.bundle import Bundle, load_bundle
from guard.compile import compile_policy
from guard.demo.servers import FLAGS, MODEL, ServerFailed, running
from guard.errors import BundleError, GuardError
from guard.models import cache_folder, resolve

HERE = Path(__file__).resolve().parent
POLICY = HERE / "policy.yaml"

_DESCRIPTION = """\
Compile the demo's policy, start one unguarded and one guarded vLLM server, put the same
questions to both, show the answers side by side and stop both.

exit status: 0 if all that was to be forgotten is forgotten and all else is kept, 1 if not,
2 if it could not be tried.
"""

_SERVE = """\
Start the guarded demo server and leave it running. All flags are those of `vllm serve`.

example:
  python -m guard.demo serve --port 9000
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "guard.demo", description=_DESCRIPTION, formatter_class=raw, allow_abbrev=False
    )
    parser.add_argument("--json", metavar="PATH", help="write the results there too; - is stdout")
    commands = parser.add_subparsers(dest="command", metavar="[serve]")
    commands.add_parser(
        "serve", help="a server to try", description=_SERVE, formatter_class=raw, allow_abbrev=False
    )
    args, flags = parser.parse_known_args(argv)
    if flags and args.command != "serve":
        parser.error(f"unrecognized arguments: {' '.join(flags)}")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a model may answer in any script
    try:
        return serve(flags) if args.command == "serve" else demo(args.json)
    except GuardError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        _say("interrupted")
        return 130


def demo(output: str | None) -> int:
    """Compares the two servers; returns the exit status.

    Args:
        output: Where to write the results as JSON. "-" is standard output; what is shown then
            goes to standard error.

    Raises:
        GuardError: It could not be carried out.
    """
    if find_spec("openai") is None:
        raise GuardError("the demo asks through OpenAI's client: pip install openai")
    if output not in (None, "-") and not Path(str(output)).absolute().parent.is_dir():
        raise GuardError(f"--json: {output}: there is no such folder")
    from guard.demo.questions import load_questions
    from guard.demo.show import Show
    from guard.demo.verdict import Row, Summary

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    show = Show(sys.stderr if output == "-" else sys.stdout)
    questions = load_questions(HERE / "questions.json")
    folder = Path(tempfile.mkdtemp(prefix="guard-demo-"))
    keep = False
    try:
        bundle = compiled(show.line)
        with running(resolve(MODEL), bundle.path, folder) as servers:
            try:
                show.wait(servers)
                answers = [show.ask(server, questions) for server in servers]
            finally:
                show.line("stopping both servers")
    except ServerFailed:
        keep = True  # for its logs
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    rows = [Row(*row) for row in zip(questions, *answers, strict=True)]
    summary = Summary(rows)
    show.table(rows)
    show.summary(summary, bundle.version)
    if output is not None:
        results = {
            "model": MODEL,
            "bundle": bundle.version,
            "summary": vars(summary),
            "rows": [row.to_dict() for row in rows],
        }
        text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
        if output == "-":
            sys.stdout.write(text)
        else:
            Path(output).write_text(text, encoding="utf-8")
    return 1 if summary.shortcomings else 0


def serve(flags: Sequence[str]) -> int:
    """Becomes the guarded server; returns only when it cannot.

    Args:
        flags: Further flags of ``vllm serve``; they win over the demo's own.

    Raises:
        GuardError: The policy could not be compiled.
    """
    bundle = compiled(_say)
    flags = ["--host=127.0.0.1", *FLAGS, *flags]
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Who wrote Romeo and Juliet?"}],
        "max_tokens": 48,
        "temperature": 0,
    }
    address = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    address.add_argument("--host")
    address.add_argument("--port", default="8000")
    known, _ = address.parse_known_args(flags)
    url = f"http://{known.host}:{known.port}/v1/chat/completions"
    command = ["curl", "-s", url, "-H", "Content-Type: application/json", "-d", json.dumps(asked)]
    print(
        f"demo: once it is ready, ask it:\n\n{shlex.join(command)}\n", file=sys.stderr, flush=True
    )
    guarded = ["-m", "guard", "serve", MODEL, f"--bundle={bundle.path}", *flags]
    os.execv(sys.executable, [sys.executable, *guarded])


def compiled(report: Callable[[str], None]) -> Bundle:
    """The bundle of this policy, this data and this code; compiled where the cache has none.

    Args:
        report: Is told what is going on, a line at a time.
    """
    digest = hashlib.sha256()
    package = HERE.parent
    for path in sorted(path for path in package.rglob("*") if path.is_file()):
        if path.suffix in (".py", ".yaml", ".jsonl"):
            digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes() + b"\0")
    folder = cache_folder() / "demo" / digest.hexdigest()[:16]
    try:
        bundle = load_bundle(folder)
        report(f"{POLICY} is compiled already, version {bundle.version}")
    except BundleError:
        report(f"compiling {POLICY}")
        bundle = compile_policy(POLICY, folder)
    return bundle


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
