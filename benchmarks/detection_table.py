"""The views of a detection result: whole, and in brief for the README."""

from collections.abc import Mapping, Sequence

from benchmarks.latency import AS_THEY_COME, WORDS
from benchmarks.result import Result, Row
from benchmarks.table import markdown, setting

MAIN = "TOFU forget10"
ENOUGH = 0.95  # of the plain true-positive rate, under every evasion
_NEAR, _LARGE = ("real authors", "world facts"), ("CLINC150", "GSM8K")
_OTHER = ("Banking77", "XSTest", "MT-Bench", "Vicuna", "Self-Instruct seeds", "Self-Instruct user")
_NONE = "–"

Found = Mapping[tuple[str, str | None, str], Row]


def table(result: Result) -> str:
    """Renders a result: what it does not hold is left out."""
    found = _found(result)
    sections = [_systems(result, found), _suites(found), _evasions(result), _latency(found)]
    return "\n".join([*filter(None, sections), setting(result), ""])


def brief(result: Result) -> str:
    """Renders of a result only how the systems compare."""
    return "\n".join([_systems(result, _found(result)), setting(result), ""])


def _found(result: Result) -> Found:
    return {(row.system, row.split, row.metric): row for row in result.rows if row.attack is None}


def _systems(result: Result, found: Found) -> str:
    split = f"{MAIN}: positives"
    systems = dict.fromkeys(row.system for row in result.rows if row.split == split)
    if not systems:
        return ""
    header = ["TOFU forget10", "paraphrases found", "other authors flagged", "at 0.1 % FPR",
              *_NEAR, *_LARGE, "other prompts", "worst evasion", "median time"]  # fmt: skip
    rows = []
    for system in systems:
        rows.append(
            [
                system,
                _percent(found.get((system, f"{MAIN}: positives", "tpr"))),
                _percent(found.get((system, f"{MAIN}: other authors", "fpr")), 2),
                _percent(found.get((system, f"{MAIN}: other authors", "tpr_at_0.001_fpr"))),
                *(_flagged(found, system, [name]) for name in (*_NEAR, *_LARGE)),
                _flagged(found, system, _OTHER),
                _worst(result, system),
                _milliseconds(found.get((system, AS_THEY_COME, "decide_ms"))),
            ]
        )
    rows += [
        [row.system, "could not be run", *[_NONE] * (len(header) - 2)]
        for row in result.rows
        if row.metric == "unavailable"
    ]
    return markdown(header, rows)


def _suites(found: Found) -> str:
    splits = [split for system, split, metric in found
              if (system, metric) == ("guard", "auc") and split]  # fmt: skip
    rows = []
    for split in splits:
        suite = split.rpartition(": ")[0]
        metrics = ("auc", "tpr_at_0.01_fpr", "tpr_at_0.001_fpr")
        rows.append(
            [
                suite,
                _percent(found.get(("guard", f"{suite}: positives", "tpr"))),
                _percent(found.get(("guard", f"{suite}: positives", "tpr_worst_fold"))),
                _percent(found.get(("guard", split, "fpr")), 2),
                f"{found['guard', split, 'auc'].value:.4f}",
                *(_percent(found.get(("guard", split, metric))) for metric in metrics[1:]),
            ]
        )
    for row in found.values():
        own = row.system == "guard" and row.metric == "tpr" and row.split
        if own and not own.endswith(": positives"):
            rows.append([own, _percent(row), *[_NONE] * 5])
    header = ["guard", "found", "worst fold", "neighbours flagged", "AUC", "found at 1 % FPR",
              "at 0.1 %"]  # fmt: skip
    return markdown(header, rows) if rows else ""


def _evasions(result: Result) -> str:
    shares = _shares(result, "guard")
    if not shares:
        return ""
    low = [f"{name} {share:.0%}" for name, share in shares.items() if share < ENOUGH]
    kept = f"{len(shares) - len(low)} of {len(shares)}"
    text = f"{kept} evasions leave the guard {ENOUGH:.0%} or more of what it finds without them"
    text += f"; less: {', '.join(low)}." if low else "."
    flagged = [row for row in result.rows
               if row.system == "guard" and row.attack and row.metric == "fpr"]  # fmt: skip
    if flagged:
        most = max(flagged, key=lambda row: row.value)
        text += f" Of other authors' questions, so disguised, it flags {most.value:.1%} at most"
        text += f" ({most.attack})." if most.value else "."
    return text + "\n"


def _latency(found: Found) -> str:
    rows = []
    kinds = [(AS_THEY_COME, AS_THEY_COME), *((f"{n} words", f"{n:,} words") for n in WORDS)]
    for split, label in kinds:
        if ("guard", split, "decide_ms") not in found:
            continue
        again = found.get(("guard", f"{split}, next turn", "decide_ms"))
        cells = [found.get(("guard", split, m)) for m in ("decide_ms", "decide_ms_p99")]
        ratio = found.get(("semantic-router/guard", split, "time_ratio"))
        rows.append([label, *map(_milliseconds, [*cells, again]), _times(ratio)])
    for row in found.values():
        split = row.split or ""
        own_time = row.system == "guard" and row.metric == "decide_ms"
        if own_time and split.endswith(" targets"):
            slow = found["guard", split, "decide_ms_p99"]
            timed = [_milliseconds(row), _milliseconds(slow)]
            rows.append([f"32 words, {split}", *timed, _NONE, _NONE])
    header = ["one core", "median", "p99", "next turn", "semantic-router takes"]
    return markdown(header, rows) if rows else ""


def _shares(result: Result, system: str) -> dict[str, float]:
    return {
        row.attack: row.value
        for row in result.rows
        if row.system == system and row.attack and row.metric == "of_plain_tpr"
    }


def _worst(result: Result, system: str) -> str:
    shares = _shares(result, system)
    if not shares:
        return _NONE
    name = min(shares, key=lambda name: shares[name])
    return f"{shares[name]:.0%} ({name})"


def _flagged(found: Found, system: str, names: Sequence[str]) -> str:
    rows = [found.get((system, f"{MAIN}: {name}", "false_positives")) for name in names]
    present = [row for row in rows if row is not None]
    if not present:
        return _NONE
    return f"{sum(row.value for row in present):.0f} of {sum(row.n or 0 for row in present):,}"


def _percent(row: Row | None, digits: int = 1) -> str:
    return _NONE if row is None else f"{100 * row.value:.{digits}f} %"


def _milliseconds(row: Row | None) -> str:
    return _NONE if row is None else f"{row.value:.2f} ms"


def _times(row: Row | None) -> str:
    return _NONE if row is None else f"×{row.value:.1f}"
