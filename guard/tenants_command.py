"""`guard tenants`: keys of tenants, and who a bundle's tenants are; importing it is light."""

import argparse
import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from guard.errors import GuardError
from guard.secret import LEAST, MEND
from guard.tenants import hashed

HELP = "who a bundle's tenants are, and their keys"
DESCRIPTION = """\
Make keys for tenants, list the tenants of a bundle, or give it those of a policy. A policy and a
bundle hold hashes of keys only; whoever shows a key of no tenant gets every target, enforced.

`key` makes a new key and its hash; with --stdin it reads a key that there is, on standard input,
and prints the hash alone. `set` takes from a policy who the tenants are, their keys, for whom each
target stands and in which mode. What is done about a target is fitted by `guard compile`.

examples:
  guard tenants key
  guard tenants key --stdin < acme.key
  guard tenants list --bundle bundle/
  guard tenants set --bundle bundle/ --policy policy.yaml      # in place
"""


def options(parser: argparse.ArgumentParser, audited: Callable[..., None]) -> None:
    """Adds the options.

    Args:
        parser: The command's.
        audited: Adds ``--audit``.
    """
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    about = "make a key, or the hash of one"
    one = verbs.add_parser("key", help=about, description=about, allow_abbrev=False)
    one.add_argument("--stdin", action="store_true", help="of the key on standard input")
    about = "the tenants, and what stands for them"
    one = verbs.add_parser("list", help=about, description=about, allow_abbrev=False)
    one.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    one.add_argument("--json", action="store_true", help="one JSON object a tenant")
    about = "give a bundle the tenants of a policy"
    one = verbs.add_parser("set", help=about, description=about, allow_abbrev=False)
    one.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    one.add_argument("--policy", type=Path, required=True, metavar="POLICY.yaml")
    one.add_argument("--out", type=Path, metavar="BUNDLE", help="folder to make (in place)")
    audited(one, "who changed what")
    one.add_argument("--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Raises:
        GuardError: An option, the policy or the bundle is wrong; nothing is written then.
    """
    if args.verb == "key":
        _key(given=args.stdin)
        return 0
    from guard.audit.changes import recorded
    from guard.tenancy import list_tenants, set_tenants

    if args.verb == "list":
        for tenant in list_tenants(args.bundle):
            stands = ", ".join(f"{id_} ({mode})" for id_, mode in tenant["targets"].items())
            plain = f"{tenant['id']:20} {tenant['keys']:3} keys  {stands or 'no target stands'}"
            print(json.dumps(tenant) if args.json else plain)
    else:
        with recorded(args.audit, "tenants set", args.bundle, args.out) as note:
            bundle = set_tenants(args.bundle, args.policy, args.out)
            note(bundle)
        if not args.quiet:
            count = len(bundle.manifest.tenants)
            where = args.out or args.bundle
            line = f"guard: wrote {where}: version {bundle.version}, {count} tenants"
            print(line, file=sys.stderr)
    return 0


def _key(*, given: bool) -> None:
    if not given:
        key = secrets.token_hex(32)
        print(f"key:  {key}\nhash: {hashed(key)}")
        return
    if sys.stdin.isatty():
        raise GuardError("give the key on standard input")
    key = sys.stdin.read().rstrip("\r\n")
    if len(key) < LEAST or not key.isascii() or not key.isprintable() or " " in key:
        raise GuardError(f"standard input: has less than {LEAST} plain characters; {MEND}")
    print(hashed(key))
