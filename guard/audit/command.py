"""`guard audit`: verify what was written, mend what a kill has torn, answer what is asked."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

HELP = "verify and export the audit"
DESCRIPTION = """\
Verify the audit of changes and decisions, or answer from it. `guard serve`, `compile`, `calibrate`
and `targets` write it where --audit FOLDER or GUARD_AUDIT is given; with GUARD_AUDIT_KEY its hashes
go by a key, and the same key is needed here.

examples:
  guard audit verify audit/
  guard audit verify audit/ --json > heads.json      # kept elsewhere, …
  guard audit verify audit/ --since heads.json       # … it finds what was cut off since
  guard audit export audit/ --reason "request 2026-1182" --leakage leakage.json
  guard audit mend audit/

exit status: 0 where nothing is wrong, 1 where something is, 2 for bad input.
"""
_VERIFY = "Find any edit, deletion, insertion, reordering or gap, and name file and line."
_EXPORT = """\
Tell, for one reason (or target) of the policy: since when it is enforced, in which modes, under
which versions of the bundle, how many requests were decided, who changed what, and the leakage
that was measured.
"""
_MEND = "Note in each chain that nobody writes what a kill has torn; nothing is taken away."


def options(parser: argparse.ArgumentParser) -> None:
    """Adds the verbs."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def add(verb: str, about: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(verb, help=about.splitlines()[0], description=about)
        one.add_argument("folder", type=Path, metavar="FOLDER")
        return one

    one = add("verify", _VERIFY)
    one.add_argument("--since", type=Path, metavar="HEADS.json", help="an earlier --json")
    one.add_argument("--json", action="store_true", help="one JSON object")
    one = add("export", _EXPORT)
    asked = one.add_mutually_exclusive_group(required=True)
    asked.add_argument("--reason", metavar="TEXT", help="the policy's `reason` of the targets")
    asked.add_argument("--target", metavar="ID", help="one target")
    one.add_argument("--leakage", type=Path, metavar="FILE", help="a benchmark's result")
    one.add_argument("--system", metavar="NAME", help="which of the systems that it compares")
    one.add_argument("--json", type=Path, metavar="FILE.json", help="write it there as JSON")
    one.add_argument("--markdown", type=Path, metavar="FILE.md", help="write it there as Markdown")
    add("mend", _MEND)


def run(args: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    if args.verb == "verify":
        return _verify(args)
    return _export(args) if args.verb == "export" else _mend(args.folder)


def _verify(args: argparse.Namespace) -> int:
    from guard.audit.record import Sealer
    from guard.audit.settings import audit_key
    from guard.audit.verify import read_heads, verify

    since = read_heads(args.since) if args.since is not None else None
    verdict = verify(args.folder, Sealer(audit_key()), since)
    if args.json:
        print(json.dumps(verdict.to_dict()))
    else:
        print(*verdict.lines(), sep="\n")
    return 0 if verdict.intact else 1


def _export(args: argparse.Namespace) -> int:
    from guard.audit.export import export
    from guard.audit.leakage import read_leakage
    from guard.audit.record import Sealer
    from guard.audit.settings import audit_key
    from guard.errors import AuditError

    leakage = None
    if args.leakage is not None:
        leakage = read_leakage(args.leakage, args.system)
    elif args.system is not None:
        raise AuditError("--system goes with --leakage; give that too")
    account = export(
        args.folder, Sealer(audit_key()), reason=args.reason, target=args.target, leakage=leakage
    )
    written = json.dumps(account.to_dict(), indent=1, ensure_ascii=False) + "\n"
    for path, text in ((args.json, written), (args.markdown, account.markdown())):
        if path is not None:
            _write(path, text)
    if args.markdown is None and args.json is None:
        print(account.markdown(), end="")
    if not account.intact:
        print("guard: the audit is NOT INTACT; see `guard audit verify`", file=sys.stderr)
    return 0 if account.intact else 1


def _mend(folder: Path) -> int:
    from filelock import Timeout

    from guard.audit.chain import Chain
    from guard.audit.folder import writers
    from guard.audit.settings import AuditSettings, audit_key
    from guard.errors import AuditError

    settings = AuditSettings(folder, audit_key())
    for path in writers(folder):
        now = time.time()
        told: dict[str, Any] = {"role": "mend"}
        try:
            chain = Chain.resume(path, settings.sealer, (now, "start", told))
        except Timeout:
            print(f"{path.name}: is being written")
            continue
        except OSError as error:
            raise AuditError(f"{path}: cannot be written: {error.strerror}") from None
        chain.close([(now, "stop", {})])
        print(f"{path.name}: whole")
    return 0


def _write(path: Path, text: str) -> None:
    from guard.errors import AuditError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AuditError(f"{path}: cannot be written: {error.strerror}") from None
