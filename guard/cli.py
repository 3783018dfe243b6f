"""The command `guard`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from guard import __version__
from guard import tenants_command as tenants
from guard.admin import command as admin
from guard.audit import command as audit
from guard.ending import read_or_ended
from guard.errors import GuardError
from guard.guardrail import command as guardrail
from guard.proxy import command as proxy

_DESCRIPTION = """\
Make a served language model behave as if it had never learned what must be forgotten.

  1. write a policy          what is to be forgotten, and what must keep working
  2. guard compile           the policy becomes a bundle: detectors, thresholds, interventions
  3. guard check             try texts against the bundle, without the model
  4. guard serve             vLLM's OpenAI-compatible server, with the guard in it
     guard proxy             or in front of a server that cannot be changed
     guard guardrail         or asked by a LiteLLM gateway
  5. guard audit             what was changed and decided, and that nobody has edited it
  6. guard admin             targets, decisions and scores over HTTP, and as a page
"""

_COMPILE = """\
Compile a policy into a bundle: an immutable folder that every process serves from.

example:
  guard compile policy.yaml --out bundle/ --report report.html
"""

_CALIBRATE = """\
Choose a bundle's thresholds anew from real traffic, and write the bundle that has them. Nothing
else of the bundle changes.

TRAFFIC is JSON lines, {"text": ...} or {"question": ...}. Everything in it is taken for harmless:
a prompt that is to be flagged does not belong in it, and would raise the threshold above itself.
The rate then holds for traffic that comes as this did. Texts are never printed, only row numbers
(blank lines do not count).

examples:
  guard calibrate --bundle bundle/ --traffic prompts.jsonl --out bundle-2/
  guard calibrate --bundle bundle/ --traffic prompts.jsonl --out bundle-2/ \\
      --max-false-positive-rate 0.0005 --report report.html
"""

_CHECK = """\
Show what the guard decides about texts, without the served model.
Texts come as arguments, or one a line on standard input. With --answer, the output checks read
an answer that is finished, and tell which of them hits which target at which character. Where the
policy has tenants, a text without --tenant is treated as one without a tenant's key: strictest.

examples:
  guard check --bundle bundle/ "Who wrote Hamlet?"
  guard check --bundle bundle/ --json < prompts.txt
  guard check --bundle bundle/ --answer "It was written in 1601." --question "And Hamlet?"

exit status: 0 whatever it decides, 2 for bad input.
"""

_TARGETS = """\
List, add, remove or switch the targets of a bundle. Each change makes a new version of it, whole or
not at all; the other targets decide as before.

A target that is added is described by a policy, as for `guard compile`, with the same model and
encoder. Nothing is trained; it protects as soon as the new version is served.

examples:
  guard targets list --bundle bundle/
  guard targets add newton --bundle bundle/ --policy policy.yaml
  guard targets remove newton --bundle bundle/ --out without-newton/
  guard targets mode newton enforce --bundle bundle/       # or shadow, or off
"""

_SERVE = """\
Start vLLM's OpenAI-compatible server with the guard in it. It answers nothing before the guard
has been proved live: known prompts of every target are sent over HTTP, and must be decided as
when the bundle was compiled.

MODEL is a Hugging Face id or folder, or a built-in (see `guard models`). All further flags are
those of `vllm serve`. Its routes are those of a table (docs/routes.md): whatever would load
adapters, change weights or hand out what was not judged is not there.

What replaces the bundle's folder comes into force without a restart, once it has proved sound
(GUARD_RELOAD=off: never). On SIGTERM, requests that run are finished (--shutdown-timeout, 25 s).

example:
  guard serve builtin:smollm2 --bundle bundle/ --port 8000 --enforce-eager
"""

_MODELS = """\
Prepare a built-in model in the user's cache and print its folder; without a name, list them.

example:
  guard models builtin:smollm2
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    try:
        return read_or_ended(lambda: _run(list(sys.argv[1:] if argv is None else argv)))
    except GuardError as error:
        print(f"guard: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(argv: list[str]) -> int:
    args, rest = _parser().parse_known_args(argv)
    if args.command != "serve" and rest:
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    if args.command == "compile":
        return _compile(args)
    if args.command == "calibrate":
        return _calibrate(args)
    if args.command == "check":
        return _check(args)
    if args.command == "serve":
        return _serve(args.model, args.bundle, args.audit, rest)
    if args.command == "admin":
        return admin.run(args)
    if args.command == "audit":
        return audit.run(args)
    if args.command == "proxy":
        return proxy.run(args)
    if args.command == "guardrail":
        return guardrail.run(args)
    if args.command == "tenants":
        return tenants.run(args)
    if args.command == "targets":
        return _targets(args)
    return _models(args.name)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("guard", description=_DESCRIPTION, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"unlearn-guard {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help_: str, description: str) -> argparse.ArgumentParser:
        # No abbreviations: a flag of vLLM's must never be taken for a shortened one of ours.
        return commands.add_parser(
            name, help=help_, description=description, formatter_class=raw, allow_abbrev=False
        )

    def audited(parser: argparse.ArgumentParser, what: str) -> None:
        about = f"record {what} there (default: GUARD_AUDIT, if set)"
        parser.add_argument("--audit", type=Path, metavar="FOLDER", help=about)

    sub = add("compile", "policy to bundle", _COMPILE)
    sub.add_argument("policy", type=Path, metavar="POLICY.yaml")
    sub.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to make")
    sub.add_argument("--report", type=Path, metavar="FILE.html", help="what thresholds rest on")
    audited(sub, "who changed what")
    sub.add_argument("--quiet", action="store_true", help="say nothing but errors")

    sub = add("calibrate", "thresholds anew, from traffic", _CALIBRATE)
    sub.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    sub.add_argument("--traffic", type=Path, required=True, metavar="TRAFFIC.jsonl")
    sub.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to make")
    sub.add_argument(
        "--max-false-positive-rate",
        type=float,
        metavar="RATE",
        help="share of harmless prompts that may be flagged (default: as compiled)",
    )
    sub.add_argument(
        "--only-traffic", action="store_true", help="in place of the everyday prompts, not beside"
    )
    sub.add_argument("--report", type=Path, metavar="FILE.html", help="what thresholds rest on")
    audited(sub, "who changed what")
    sub.add_argument("--json", action="store_true", help="one JSON object")

    sub = add("check", "decisions without the model", _CHECK)
    sub.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    sub.add_argument("--json", action="store_true", help="one JSON object a text")
    sub.add_argument("--answer", metavar="TEXT", help="read a finished answer (- for stdin)")
    sub.add_argument("--question", metavar="TEXT", help="what it is an answer to")
    sub.add_argument("--tenant", metavar="NAME", help="whose request it is (nobody's)")
    sub.add_argument("text", nargs="*", metavar="TEXT")

    sub = add("targets", "targets that come and go", _TARGETS)
    verbs = sub.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, about in (
        ("list", "what the bundle holds"),
        ("add", "add targets of a policy"),
        ("remove", "take targets out"),
        ("mode", "enforce a target, watch it in shadow, or switch it off"),
    ):
        one = verbs.add_parser(verb, help=about, description=about, allow_abbrev=False)
        one.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
        if verb == "list":
            one.add_argument("--json", action="store_true", help="one JSON object a target")
            continue
        which = "those that the bundle lacks" if verb == "add" else None
        some = {"add": "*", "remove": "+", "mode": None}[verb]
        one.add_argument("id", nargs=some, metavar="ID", help=f"targets ({which})" if which else "")
        if verb == "mode":
            one.add_argument("mode", choices=["shadow", "enforce", "off"], metavar="MODE")
        one.add_argument("--out", type=Path, metavar="BUNDLE", help="folder to make (in place)")
        audited(one, "who changed what")
        one.add_argument("--quiet", action="store_true", help="say nothing but errors")
        if verb == "add":
            one.add_argument("--policy", type=Path, required=True, metavar="POLICY.yaml")

    tenants.options(add("tenants", tenants.HELP, tenants.DESCRIPTION), audited)

    sub = add("serve", "a guarded OpenAI-compatible server", _SERVE)
    sub.add_argument("model", metavar="MODEL")
    sub.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    audited(sub, "decisions")

    proxy.options(add("proxy", proxy.HELP, proxy.DESCRIPTION))
    guardrail.options(add("guardrail", guardrail.HELP, guardrail.DESCRIPTION))
    audit.options(add("audit", audit.HELP, audit.DESCRIPTION))
    admin.options(add("admin", admin.HELP, admin.DESCRIPTION))

    sub = add("models", "prepare a built-in model", _MODELS)
    sub.add_argument("name", nargs="?", metavar="NAME")
    return parser


def _compile(args: argparse.Namespace) -> int:
    from guard.audit.changes import recorded
    from guard.compile import compile_policy
    from guard.report import check_report, texts_of, write_report

    policy, out, page, quiet = args.policy, args.out, args.report, args.quiet
    if page is not None:
        check_report(page)

    def report(line: str) -> None:
        if not quiet:
            print(f"guard: {line}", file=sys.stderr)

    with recorded(args.audit, "compile", out) as note:
        bundle = compile_policy(policy, out, report)
        note(bundle)
    if page is not None:
        write_report(page, bundle, texts_of(policy))
    if not quiet:
        targets = len(bundle.manifest.targets)
        print(f"guard: wrote {out}: version {bundle.version}, {targets} targets", file=sys.stderr)
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from guard.audit.changes import recorded
    from guard.recalibrate import recalibrate
    from guard.report import check_report, write_report

    if args.report is not None:
        check_report(args.report)
    rate = args.max_false_positive_rate
    with recorded(args.audit, "calibrate", args.bundle, args.out) as note:
        found = recalibrate(args.bundle, args.traffic, args.out, rate, args.only_traffic)
        note(found.bundle)
    if args.report is not None:
        write_report(args.report, found.bundle)
    if args.json:
        print(json.dumps(found.to_dict()))
        return 0
    for change in found.changes:
        print(*change.lines(), sep="\n")
    print(f"wrote {args.out}: version {found.bundle.version}, from {found.rows} different prompts")
    return 0


def _check(args: argparse.Namespace) -> int:
    from guard.checking import check_answer, check_prompts

    if args.answer is not None:
        if args.text:
            raise GuardError("give texts, or --answer with --question, not both")
        check_answer(
            args.bundle, args.answer, args.question or "", tenant=args.tenant, as_json=args.json
        )
        return 0
    if args.question is not None:
        raise GuardError("--question goes with --answer; give a text to have it judged")
    check_prompts(args.bundle, args.text, tenant=args.tenant, as_json=args.json)
    return 0


def _targets(args: argparse.Namespace) -> int:
    from guard.audit.changes import recorded
    from guard.targets import add_targets, list_targets, remove_targets, set_mode

    def report(line: str) -> None:
        if not args.quiet:
            print(f"guard: {line}", file=sys.stderr)

    if args.verb == "list":
        for target in list_targets(args.bundle):
            if args.json:
                print(json.dumps(target))
                continue
            detected = target.get("detected")
            print(
                f"{target['id']:20} {target['mode']:8} {'+'.join(target['interventions']):10} "
                f"{'+'.join(target['detectors']) or 'off':40} {target['forget_rows']:6} rows"
                + (f", {detected:.0%} of them detected when held out" if detected else "")
                + (f", answers: {'+'.join(target['output'])}" if target["output"] else "")
                + "".join(f", {tenant}: {mode}" for tenant, mode in target["tenants"].items())
                + (
                    ", provisional: `guard targets add` completes it"
                    if target["provisional"]
                    else ""
                )
            )
        return 0
    with recorded(args.audit, f"targets {args.verb}", args.bundle, args.out) as note:
        if args.verb == "add":
            bundle = add_targets(args.bundle, args.policy, args.id, args.out, report)
        elif args.verb == "mode":
            bundle = set_mode(args.bundle, [args.id], args.mode, args.out)
        else:
            bundle = remove_targets(args.bundle, args.id, args.out)
        note(bundle)
    targets = len(bundle.manifest.targets)
    report(f"wrote {args.out or args.bundle}: version {bundle.version}, {targets} targets")
    return 0


def _serve(model: str, bundle: Path, folder: Path | None, flags: list[str]) -> int:
    from guard.server.serve import serve

    def report(line: str) -> None:
        print(f"guard: {line}", file=sys.stderr, flush=True)

    return serve(model, bundle, flags, report, folder)


def _models(name: str | None) -> int:
    from guard.models import BUILTIN, resolve

    if name is None:
        for known, model in BUILTIN.items():
            print(f"{known:18} {model.about}")
        return 0
    print(resolve(name if ":" in name else f"builtin:{name}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
