"""One answer on its way out.

Text is all that a server sends, so an answer is held back and cut character by character. It has
its texts (`Answer.read` tells them apart by name: content, reasoning, the arguments of each tool
call), and each text has readers of its own.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from guard.errors import OutputError
from guard.events import FAILED, OPENED, Unchecked
from guard.logs import told
from guard.output.base import Claim
from guard.output.line import Leave, Line
from guard.proxy.checks import Checks
from guard.proxy.endings import Ending, Piece

logger = logging.getLogger("guard.proxy")

_LONG = 512  # new characters that are read on the event loop; more are read in a thread
_MOST_ROUNDS = 1000  # of claims in one reading


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
                self.ended = await self._checks.ending(self.number, line.hit, self.times, self.left)
            else:
                line.leave(done=done)
        except Exception as error:
            await self._failed(line, error)
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
                if seen.hit is not None:
                    await self._checks.note(self.number, seen.hit, "shadow")
            except Exception as error:  # nothing is done about it: nor may it harm
                known = type(error).__name__
                logger.error("guard: request %s: shadow: %s", self._checks.name, known)

    async def _read(self, line: Line, *, done: bool, much: bool) -> None:
        for _ in range(_MOST_ROUNDS):
            if much:
                claims = await self._checks.run(lambda: self._claims(line, done=done))
            else:
                claims = self._claims(line, done=done)
            if not claims:
                return
            texts = [claim.text for claim in claims]
            line.weigh(await self._checks.run(partial(self._checks.guard.encoder, texts)))
        raise OutputError("a check asks for the same over and over")

    def _claims(self, line: Line, *, done: bool) -> Sequence[Claim]:
        begun = time.perf_counter()
        try:
            return line.read(done=done)
        finally:
            self._checks.seconds += time.perf_counter() - begun

    async def _failed(self, line: Line, error: Exception) -> None:
        """Ends an answer that could not be read; or lets it go, where the policy says so."""
        known = type(error).__module__.startswith("guard.")
        reason = str(error) if known else type(error).__name__
        name, guard = self._checks.name, self._checks.guard
        event = Unchecked(name, guard.version, self.number, FAILED, type(error).__name__)
        opened = replace(event, action=OPENED)
        opens = guard.bundle.manifest.on_error == "open" and line.hit is None
        if opens and await self._checks.recorded(opened):
            logger.error(
                "guard: request %s: its answer could not be checked (%s) and goes out UNGUARDED, "
                "because the policy says on_error: open", name, reason, extra=told(opened),
            )  # fmt: skip
            line.left = Leave(len(line.tokens), len(line.text))
            return
        await self._checks.recorded(event)
        logger.error(
            "guard: request %s: its answer could not be checked (%s): ended", name, reason,
            extra=told(event),
        )  # fmt: skip
        self.ended = Ending("", "content_filter")
