"""The audit as it grows: the latest events, counts, times of stages, and which process serves what.

It reads the latest files of each chain and goes on from there; of what is older, only which process
serves what. It checks no hashes: that is what verifying does.
"""

import itertools
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from guard.audit.folder import segments, writers
from guard.audit.record import Record, parse
from guard.errors import AuditError

_EVENTS = 1000  # that are kept
_TIMES = 2000  # of a stage
_TOLD = ("decided", "hit", "unchecked", "refused", "changed", "abandoned", "asked")
_FILES = 4  # of a chain that are read whole; each has 16 MiB
_START = b'"kind":"start"'
_PROCESS = (_START, b'"kind":"serving"', b'"kind":"refused"')


class Chain:
    """One writer's chain, read from its latest files on.

    Args:
        path: Its folder.

    Attributes:
        process: What is known of the process: role, pid, since, bundle, modes, ended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: dict[str, Any] = {}
        files = segments(path)
        self._file = files[-_FILES:][0] if files else None
        self._offset = 0
        for record in _begun(files[:-_FILES]):
            self.take(record)

    def take(self, record: Record) -> None:
        """Notes what a record says of the process that writes."""
        process, body = self.process, record.body
        if record.kind == "start":
            process.clear()
            process |= {"role": body.get("role"), "pid": body.get("pid"), "since": record.at}
            process["ended"] = None
        elif record.kind == "serving":
            modes = body.get("modes")
            process |= {"bundle": body.get("bundle"), "serving_since": record.at}
            process["modes"] = dict(modes) if isinstance(modes, Mapping) else {}
            process.pop("refused", None)
        elif record.kind == "refused":  # another version, which did not prove sound
            process["refused"] = body.get("bundle")
        elif record.kind == "stop":
            process["ended"] = record.at

    def read(self) -> Iterator[Record]:
        """Reads on to what is the end for now."""
        if self._file is None:
            self._file = next(iter(segments(self.path)), None)
        while self._file is not None:
            with open(self._file, "rb") as lines:
                lines.seek(self._offset)
                for raw in lines:
                    if not raw.endswith(b"\n"):
                        break  # it is being written
                    self._offset += len(raw)
                    if (record := parse(raw[:-1])) is not None:
                        yield record
            later = [file for file in segments(self.path) if file > self._file]
            if not later:
                return
            self._file, self._offset = later[0], 0


class Feed:
    """What an audit tells; for any thread.

    Args:
        folder: The audit.

    Attributes:
        events: The latest, the oldest first; each with its number.
        requests: How many requests were decided, by what was done; told once a minute.
        targets: How many requests touched a target, by target, mode and action.
        hits: How many answers told of a target, by target, check and action.
        times: Of each stage, how long it took, in microseconds, where a target was touched.
        margins: Of each target, how far above their thresholds scores lay; see `Noticed.margin`.
        since: When the first of what is counted here happened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._chains: dict[Path, Chain] = {}
        self._numbers = itertools.count(1)
        self.events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        self.requests: Counter[str] = Counter()
        self.targets: Counter[tuple[str, str, str]] = Counter()
        self.hits: Counter[tuple[str, str, str]] = Counter()
        self.times: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=_TIMES))
        self.margins: defaultdict[str, Counter[float]] = defaultdict(Counter)
        self.since: str | None = None

    def poll(self) -> None:
        """Reads what has come since.

        Raises:
            AuditError: It cannot be read.
        """
        with self._lock:
            found: list[Record] = []
            try:
                for path in writers(self.folder) if self.folder.is_dir() else ():
                    chain = self._chains.setdefault(path, Chain(path))
                    for record in chain.read():
                        chain.take(record)
                        found.append(record)
            except OSError as error:
                raise AuditError(f"{self.folder}: cannot be read: {error.strerror}") from None
            for record in sorted(found, key=lambda one: one.at):
                try:
                    self._take(record)
                except (KeyError, TypeError, AttributeError, ValueError):
                    continue  # made by somebody else; verifying says so

    def after(self, number: int) -> list[dict[str, Any]]:
        """Returns the events behind a number, the newest first; all where no event has it."""
        with self._lock:
            newest = self.events[-1]["number"] if self.events else 0
            known = number if number <= newest else 0
            return [event for event in reversed(self.events) if event["number"] > known]

    def counts(self) -> dict[str, Any]:
        """Returns the counts as plain data: `requests`, `targets`, `hits`, `times`."""
        with self._lock:
            return {
                "requests": dict(self.requests),
                "targets": [
                    {"target": target, "mode": mode, "action": action, "count": count}
                    for (target, mode, action), count in sorted(self.targets.items())
                ],
                "hits": [
                    {"target": target, "check": check, "action": action, "count": count}
                    for (target, check, action), count in sorted(self.hits.items())
                ],
                "times": {stage: list(taken) for stage, taken in sorted(self.times.items())},
            }

    def margins_of(self, target: str) -> dict[float, int]:
        """Returns how far above their thresholds requests lay that touched a target."""
        with self._lock:
            return dict(self.margins.get(target, {}))

    def processes(self) -> list[dict[str, Any]]:
        """Returns which processes said that they serve, those that go on first."""
        with self._lock:
            served = [
                {"writer": path.name, "ended": None, **chain.process}
                for path, chain in self._chains.items()
                if "bundle" in chain.process
            ]
        return sorted(served, key=lambda one: (one["ended"] is not None, one["writer"]))

    def _take(self, record: Record) -> None:
        body = record.body
        if record.kind not in (*_TOLD, "tally"):
            return
        self.since = min(self.since or record.at, record.at)
        if record.kind == "tally":
            self.requests.update({str(k): int(n) for k, n in body.items()})
            return
        event = {"kind": record.kind, "at": record.at, "writer": record.writer, **body}
        self.events.append({**event, "number": next(self._numbers)})
        if record.kind == "decided":
            for noticed in body.get("targets", ()):
                key = noticed["target"], noticed["mode"], noticed["action"]
                self.targets[key] += 1
                self.margins[noticed["target"]][float(noticed["margin"])] += 1
            for stage, taken in body.get("microseconds", {}).items():
                self.times[stage].append(int(taken))
        elif record.kind == "hit":
            self.hits[body["target"], body["check"], body["action"]] += 1


def _begun(files: Sequence[Path]) -> list[Record]:
    """What the last process in these files said of itself, from its start on."""
    found: list[bytes] = []
    for file in reversed(files):
        with open(file, "rb") as lines:
            told = [line for line in lines if any(mark in line for mark in _PROCESS)]
        found = told + found
        if any(_START in line for line in told):
            break
    records = [record for line in found if (record := parse(line.rstrip(b"\n"))) is not None]
    starts = [place for place, record in enumerate(records) if record.kind == "start"]
    return records[starts[-1] :] if starts else []
