"""An account of the audit as a short text: Markdown."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guard.audit.leakage import worst

if TYPE_CHECKING:
    from guard.audit.export import Account

_MARKUP = re.compile(r"[\\`*_\[\]<>|#]")


def markdown(account: "Account") -> str:
    """Writes an account."""
    lines = [f"# {_plain(account.asked)}", "", f"Made {account.made} from the audit."]
    audit = account.verdict
    lines += [
        "The audit is intact: no record was edited, taken out or put in."
        if audit.intact
        else f"**The audit is NOT INTACT: {len(audit.problems)} problems.** Nothing below is sure.",
        "",
    ]
    for target, told in account.targets.items():
        lines += _target(target, told)
    lines += _requests(account)
    if account.leakage is not None:
        lines += _leakage(account.leakage)
    return "\n".join(lines).rstrip("\n") + "\n"


def _target(target: str, told: Mapping[str, Any]) -> Iterator[str]:
    yield f"## Target {_plain(target)}"
    yield ""
    since = told["enforced_since"]
    yield f"- mode now: {told['mode']}"
    if told["tenants"]:
        yield f"- but for tenants: {', '.join(f'{t}: {m}' for t, m in told['tenants'].items())}"
    yield f"- enforced without a break since: {since or 'it is not enforced now'}"
    yield f"- enforced first: {told['first_enforced'] or 'never'}"
    yield ""
    yield from _table(
        ["served from", "mode", "bundle"],
        [[one["at"], one["mode"] or "not served", one["bundle"]] for one in told["modes"]],
    )
    yield from _table(
        ["bundle", "first seen", "last seen"],
        [[one["version"], one["first"], one["last"]] for one in told["bundles"]],
    )
    yield from _requests_of(told["requests"])
    yield from _table(
        ["answers that told of it: check", "what was done", "number"],
        [[one["check"], one["action"], one["count"]] for one in told["answers"]],
    )
    yield from _table(
        ["changed", "what", "mode", "by", "with", "bundle before", "bundle after"],
        [
            [one["at"], one["what"], _modes(one), one["who"], one["command"],
             one["before"] or "–", one["after"]]
            for one in told["changes"]
        ],
    )  # fmt: skip


def _modes(change: Mapping[str, Any]) -> str:
    """From which mode to which; the one where it stayed."""
    before, now = change["mode_before"] or "–", change["mode"] or "–"
    return now if before == now else f"{before} → {now}"


def _requests_of(counts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What was done about requests; whose they were, where anybody's is known."""
    head, fields = ["requests that touched it: mode", "what was done"], ["mode", "action"]
    if any("tenant" in one for one in counts):
        head, fields = [*head, "tenant"], [*fields, "tenant"]
    yield from _table(
        [*head, "number"],
        [[one.get(field, "–") for field in (*fields, "count")] for one in counts],
    )


def _requests(account: "Account") -> Iterator[str]:
    history = account.history
    yield "## All requests"
    yield ""
    number = sum(history.requests.values())
    yield f"Requests decided in all: {number}."
    if history.lost:
        yield f"Records that could not be kept: {history.lost}."
    yield ""
    yield from _table(["what was done", "number"], sorted(history.requests.items()))


def _leakage(leakage: Mapping[str, Any]) -> Iterator[str]:
    yield "## Measured leakage"
    yield ""
    told = (f"{key} {leakage[key]}" for key in ("benchmark", "suite", "commit") if leakage[key])
    yield f"{_plain(leakage['file'])} (SHA-256 {leakage['sha256']}): {', '.join(told)}."
    yield ""
    rows = []
    for row in worst(leakage["rows"]):
        spread = f" ({row['low']:.3g} to {row['high']:.3g})" if "low" in row else ""
        attack = row.get("attack") or "asked as it is"
        rows.append(
            [row["system"], row["split"], attack, row["metric"], f"{row['value']:.3g}{spread}"]
        )
    yield from _table(["system", "split", "attack", "metric", "value"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    if not rows:
        return
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_plain(cell) for cell in row)} |"
    yield ""


def _plain(text: object) -> str:
    """A text in which nothing is markup."""
    return _MARKUP.sub(lambda sign: "\\" + sign[0], " ".join(str(text).split()))
