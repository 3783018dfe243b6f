"""What the demo shows: live on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from typing import TextIO

from openai import DefaultHttpxClient, OpenAI, OpenAIError
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from guard.demo.questions import Answer, Question, ask
from guard.demo.servers import MODEL, Server
from guard.demo.verdict import Row, Summary, Verdict

PATIENCE = 600  # seconds that a server may take to start
WARM_UP = Question("unrelated", None, "Say hello.", ())
SHOWN = 64  # characters of an answer

_LABELS = {
    Verdict.FORGOTTEN: Text("forgotten ✓", "green"),
    Verdict.LEAKED: Text("LEAKED ✗", "bold red"),
    Verdict.NOT_KNOWN: Text("not known", "dim"),
    Verdict.KEPT: Text("kept ✓", "green"),
    Verdict.REWORDED: Text("kept ✓ (other words)", "green"),
    Verdict.CHANGED: Text("changed ✗", "bold red"),
}


class Show:
    """Carries out the comparison before the user's eyes.

    Args:
        stream: Where to show it.
    """

    def __init__(self, stream: TextIO) -> None:
        live = stream.isatty()
        self._console = Console(
            file=stream, force_terminal=live, width=None if live else 160, highlight=False
        )

    def line(self, text: str) -> None:
        """Shows one line."""
        self._console.print(Text(text), soft_wrap=True)

    def wait(self, servers: Sequence[Server]) -> None:
        """Waits until all servers answer.

        Raises:
            ServerFailed: One does not start.
        """
        began = time.monotonic()
        with self._progress() as progress:
            tasks = {}
            for server in servers:
                self.line(f"starting the {server.name} server (log: {server.log})")
                tasks[server] = progress.add_task(f"the {server.name} server starts", total=None)
            while tasks:
                for server in list(tasks):
                    if server.ready():
                        progress.remove_task(tasks.pop(server))
                        self.line(f"the {server.name} server is ready ({server.seconds:.0f} s)")
                    elif time.monotonic() > began + PATIENCE:
                        raise server.failure(f"is not ready after {PATIENCE} s")
                time.sleep(0.5)

    def ask(self, server: Server, questions: Sequence[Question]) -> list[Answer]:
        """Puts the questions to a server, one after the other.

        Raises:
            ServerFailed: It does not answer.
        """
        answers = []
        self.line(f"asking the {server.name} server {len(questions)} questions")
        client = OpenAI(
            base_url=f"{server.url}/v1",
            api_key="none",
            max_retries=0,
            timeout=120,
            http_client=DefaultHttpxClient(trust_env=False),  # no proxy on the way to ourselves
        )
        try:
            with client, self._progress() as progress:
                ask(client, MODEL, WARM_UP, self._arriving)
                task = progress.add_task(f"the {server.name} server answers", total=len(questions))
                for question in questions:
                    if question.route == "stream":
                        progress.stop()
                        self._arriving(f"  streamed: {question.text} → ")
                    answers.append(ask(client, MODEL, question, self._arriving))
                    if question.route == "stream":
                        self.line("")
                        progress.start()
                    progress.advance(task)
        except OpenAIError as error:
            raise server.failure(f"did not answer: {error}") from None
        return answers

    def table(self, rows: Sequence[Row]) -> None:
        """Shows the answers side by side."""
        table = Table(show_edge=False, pad_edge=False)
        for name in ("kind", "question", "unguarded", "guarded", "verdict"):
            table.add_column(name)
        table.add_column("seconds", justify="right", no_wrap=True)
        kind = ""
        for row in rows:
            question = row.question
            shown = question.kind if question.route == "chat" else question.route
            if kind not in ("", question.kind):
                table.add_section()
            kind = question.kind
            table.add_row(
                shown,
                Text(question.text),
                _short(row.unguarded.text),
                _short(row.guarded.text),
                _LABELS[row.verdict],
                f"{row.unguarded.seconds:.2f} / {row.guarded.seconds:.2f}",
            )
        self.line("")
        self._console.print(table)
        self.line("")

    def summary(self, summary: Summary, version: str) -> None:
        """Shows what it comes to."""
        unknown = f" ({summary.not_known} more it did not know)" if summary.not_known else ""
        self.line(
            f"{summary.forgotten} of {summary.knew} forgotten{unknown}, "
            f"{summary.kept} of {summary.others} kept; "
            f"median time with the guard ×{summary.other_ratio:.2f} unflagged, "
            f"×{summary.flagged_ratio:.2f} flagged; bundle {version}"
        )
        for text in summary.shortcomings:
            self._console.print(Text(f"FAILED: {text}", "bold red"), soft_wrap=True)

    def _arriving(self, piece: str) -> None:
        self._console.print(Text(_printable(piece)), end="", soft_wrap=True)
        self._console.file.flush()

    def _progress(self) -> Progress:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
        return Progress(
            *columns,
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )


def _short(answer: str) -> Text:
    text = " ".join(_printable(answer).split())
    return Text(text if len(text) <= SHOWN else f"{text[: SHOWN - 1].rstrip()}…")


def _printable(text: str) -> str:
    """Without control characters, which a model could send to the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
