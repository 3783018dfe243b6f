"""The answers to one request on their way out: what may leave, and where one has to end.

Text is all that a server sends, so an answer is held back and cut character by character. Each
choice of a reply has its texts (`Answer.read` tells them apart by name: content, reasoning, the
arguments of each tool call), and each text has readers of its own.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from guard.engine.mediator import asked_part
from guard.engine.worker import Worker
from guard.errors import OutputError
from guard.guard import Guard
from guard.manifest import Mode
from guard.output.base import Hit, Reader
from guard.output.line import Leave, Line
from guard.proxy.endings import Ending, Piece
from guard.proxy.judging import Verdict
from guard.view import View

logger = logging.getLogger("guard.proxy")

_LONG = 512  # new characters that are read on the event loop; more are read in a thread
_MOST_ROUNDS = 1000  # of claims in one reading


class Checks:
    """What reads the answers to one request.

    Args:
        guard: The guard.
        worker: Whose threads long texts are read and sentences encoded in.
        name: The request's id, for the log.
        view: What was judged.
        verdict: What was decided.
        finished: The text that ends an answer about a target, where it has one.
        goes_on: The one text of an answer that the server can be asked to go on with, if it can.
    """

    def __init__(
        self,
        guard: Guard,
        worker: Worker,
        name: str,
        view: View,
        verdict: Verdict,
        finished: Callable[[str, View], str | None],
        goes_on: str | None = None,
    ) -> None:
        self.guard, self.worker, self.name = guard, worker, name
        self.goes_on = goes_on
        self._view, self._finished = view, finished
        part = asked_part(view)
        self._question = view.text if part is None else view.text[part.start : part.end]
        self._doubted = guard.doubted(verdict.decision) if guard.output else frozenset[str]()

    def answer(self, number: int) -> "Answer":
        """Begins to read one of the answers."""
        return Answer(self, number)

    def readers(self, mode: Mode) -> Sequence[Reader]:
        """Readers of one text of an answer."""
        output = self.guard.output
        if not output:
            return ()
        found = output.start(self._question, self._view.text, self._doubted, mode)
        return [reader for _, reader in found]

    def ending(self, answer: "Answer", hit: Hit) -> Ending:
        """How an answer ends where something was hit, or goes on.

        Tokens cannot be forced over HTTP. A server may be asked to go on from what has left, where
        that is all that there is of the answer. Else there remains what the policy has for when
        ``rollback`` and ``switch`` are used up (``then``), or the finished text of a target that
        is refused.
        """
        rule, number = self.guard.output.rules[hit.target], answer.number
        action, text = str(rule.on_hit), ""
        if action == "rollback" and answer.times < rule.times and {*answer.left} == {self.goes_on}:
            self.note(number, hit, action)
            return Ending("", "", hit.phrases)
        if action == "switch":
            text = self._finished(hit.target, self._view) or ""
        if action in ("rollback", "switch") and not text:
            action = str(rule.then)
        if action == "answer":
            text = rule.answer
        self.note(number, hit, action)
        return Ending(text, "stop" if text else "content_filter")

    def note(self, number: int, hit: Hit, action: str) -> None:
        """Logs a hit: where it is, never what."""
        logger.info(
            "guard: request %s: answer %d: check %s hit target %s at character %d: %s",
            self.name, number, hit.check, hit.target, hit.start, action,
        )  # fmt: skip


class Answer:
    """One answer.

    Attributes:
        ended: How it has ended, where something in it was hit.
        left: All that has left, by the name of the text.
        times: How often it was gone on with from what had left.

    Args:
        checks: What reads it.
        number: Which of the answers to the request.
    """

    def __init__(self, checks: Checks, number: int) -> None:
        self.number = number
        self.ended: Ending | None = None
        self.left: dict[str, str] = {}
        self.times = 0
        self._spaced = False
        self._checks = checks
        self._lines: dict[str, Line] = {}

    async def read(self, name: str, text: str, *, done: bool = False) -> Piece:
        """Takes what came of one text, and lets go what may leave.

        Args:
            name: Which text.
            text: What is new of it.
            done: Whether that is all of it.
        """
        if self.ended is not None:
            return Piece("", self.ended)
        if self._spaced and name == self._checks.goes_on:
            text = text.lstrip()  # the space has left, and the server was not shown it
            self._spaced = not text
        self.left.setdefault(name, "")
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = Line(self._checks.readers("enforce"), chr)
        before = line.left
        try:
            line.feed([ord(char) for char in text], None)
            await self._read(line, done=done, much=len(text) > _LONG)
            if line.hit is not None:
                line.left = line.kept()
                self.ended = self._checks.ending(self, line.hit)
            else:
                line.leave(done=done)
        except Exception as error:
            self._failed(line, error)
        piece = line.text[before.chars : line.left.chars]
        self.left[name] += piece
        return Piece(piece, self.ended)

    async def whole(self, name: str, text: str) -> Piece:
        """Reads a text that came in one, a tool's name say, by itself."""
        self.left.pop(name, None)
        self._lines.pop(name, None)
        return await self.read(name, text, done=True)

    async def rest(self, name: str) -> Piece:
        """Lets go what is left of a text that has come to its end."""
        return await self.read(name, "", done=True)

    def resume(self) -> None:
        """Goes on from what has left, as if it came again."""
        self.ended, self.times = None, self.times + 1
        for name, text in self.left.items():
            self._spaced = text != text.rstrip()
            line = self._lines[name] = Line(self._checks.readers("enforce"), chr)
            line.feed([ord(char) for char in text], None)
            line.resume(Leave(len(text), len(text)))

    async def shadow(self) -> None:
        """Notes what would have been hit of targets in shadow mode, once an answer is whole."""
        if self.ended is not None:
            return
        for line in self._lines.values():
            readers = self._checks.readers("shadow")
            if not readers or not line.text:
                continue
            seen = Line(readers, chr)
            seen.feed([ord(char) for char in line.text], None)
            try:
                await self._read(seen, done=True, much=True)
            except Exception as error:  # nothing is done about it: nor may it harm
                known = type(error).__name__
                logger.error("guard: request %s: shadow: %s", self._checks.name, known)
                continue
            if seen.hit is not None:
                self._checks.note(self.number, seen.hit, "shadow")

    async def _read(self, line: Line, *, done: bool, much: bool) -> None:
        worker = self._checks.worker
        for _ in range(_MOST_ROUNDS):
            if much:
                claims = await worker.acall(lambda: line.read(done=done))
            else:
                claims = line.read(done=done)
            if not claims:
                return
            texts = [claim.text for claim in claims]
            line.weigh(await worker.acall(partial(self._checks.guard.encoder, texts)))
        raise OutputError("a check asks for the same over and over")

    def _failed(self, line: Line, error: Exception) -> None:
        """Ends an answer that could not be read; or lets it go, where the policy says so."""
        known = type(error).__module__.startswith("guard.")
        reason = str(error) if known else type(error).__name__
        if self._checks.guard.bundle.manifest.on_error == "open" and line.hit is None:
            logger.error(
                "guard: request %s: its answer could not be checked (%s) and goes out UNGUARDED, "
                "because the policy says on_error: open", self._checks.name, reason,
            )  # fmt: skip
            line.left = Leave(len(line.tokens), len(line.text))
            return
        logger.error(
            "guard: request %s: its answer could not be checked (%s): ended",
            self._checks.name, reason,
        )  # fmt: skip
        self.ended = Ending("", "content_filter")
