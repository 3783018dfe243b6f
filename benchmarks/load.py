"""The load: vLLM's own bench client, `vllm bench serve`, streaming chats at a fixed concurrency."""

import contextlib
import io
import json
import multiprocessing
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.workers import one_thread
from guard.errors import EngineError


@dataclass(frozen=True)
class Load:
    """What came of some requests.

    Attributes:
        figures: ``throughput`` in requests a second; ``ttft``, the median time to the first token,
            in ms; ``itl``, the median time between two tokens, in ms. Without answers, none.
        answered: How many were answered.
        short: How many of these have another number of tokens than was asked for: what the model
            answers itself never does.
        failures: Why the others were not answered.
    """

    figures: Mapping[str, float]
    answered: int
    short: int = 0
    failures: tuple[str, ...] = ()

    @classmethod
    def of(cls, result: Mapping[str, Any], requests: int, tokens: int) -> "Load":
        """Reads the client's result.

        Args:
            result: What ``vllm bench serve --save-detailed`` gives.
            requests: How many prompts it was given.
            tokens: How many tokens each answer was to have.
        """
        failures = [error.strip().splitlines()[-1] for error in result["errors"] if error.strip()]
        lost = requests - result["completed"] - len(failures)
        failures += ["the client did not say how it went"] * max(lost, 0)
        names = {
            "throughput": "request_throughput",
            "ttft": "median_ttft_ms",
            "itl": "median_itl_ms",
        }
        figures = {name: float(result[field]) for name, field in names.items()}
        done = result["completed"]
        short = done - sum(length == tokens for length in result["output_lens"])
        return cls(figures if done else {}, done, short, tuple(failures))


class Client:
    """The client, in a process of its own: loading it takes longer than asking does."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_prepare)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def load(
        self,
        url: str,
        name: str,
        folder: str,
        prompts: Sequence[str],
        concurrency: int,
        tokens: int,
    ) -> Load:
        """Asks all prompts once, in their order, as many at a time as the concurrency says.

        Args:
            url: The server.
            name: What it calls its model.
            folder: The model's folder, for its tokenizer.
            prompts: What to ask, as chats, greedily.
            concurrency: How many requests are under way at any time.
            tokens: How many tokens each answer must have: none may end before.

        Raises:
            EngineError: vLLM's client is not installed whole, or refused to start.
        """
        with tempfile.TemporaryDirectory(prefix="guard-benchmark-") as temp:
            dataset = Path(temp) / "prompts.json"
            dataset.write_text(conversations(prompts), "utf-8")
            flags = [
                f"--base-url={url}",
                *(f"--model={folder}", f"--served-model-name={name}"),
                *("--backend=openai-chat", "--endpoint=/v1/chat/completions"),
                *("--dataset-name=sharegpt", f"--dataset-path={dataset}", "--disable-shuffle"),
                *(f"--num-prompts={len(prompts)}", "--no-oversample"),
                *(f"--sharegpt-output-len={tokens}", "--temperature=0"),
                # Not --ignore-eos: a guard that steers an answer does not hear it.
                f"--extra-body={json.dumps({'min_tokens': tokens})}",
                *(f"--max-concurrency={concurrency}", "--save-detailed", "--disable-tqdm"),
            ]
            try:
                result = self._pool.submit(_bench, flags).result()
            except BrokenProcessPool:
                raise EngineError("vLLM's bench client died; is there memory enough?") from None
        return Load.of(result, len(prompts), tokens)


def conversations(prompts: Sequence[str]) -> str:
    """Writes prompts in the form of ShareGPT, which the client reads without further packages."""
    turn = {"from": "gpt", "value": "-"}  # it takes only chats with an answer, and drops it
    return json.dumps(
        [{"conversations": [{"from": "human", "value": prompt}, turn]} for prompt in prompts]
    )


def _prepare() -> None:
    one_thread()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # its libraries chatter; errors are handed back
    for name in ("no_proxy", "NO_PROXY"):  # its requests follow the proxies of the environment
        os.environ[name] = "127.0.0.1,localhost"


def _bench(flags: Sequence[str]) -> dict[str, Any]:
    # The `vllm` command of the CPU build does not start; this is what it would call.
    try:
        from vllm.benchmarks.serve import add_cli_args, main
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    except ImportError as error:
        raise EngineError(
            f"vLLM's bench client cannot be loaded ({error}): pip install 'vllm[bench]'"
        ) from None
    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    try:
        args = parser.parse_args(list(flags))
    except SystemExit:  # it would end this process
        raise EngineError("vLLM's bench client knows other flags: is this vLLM tested?") from None
    with contextlib.redirect_stdout(io.StringIO()):  # its own tables
        try:
            return dict(main(args))
        except (ValueError, OSError, ImportError) as error:
            raise EngineError(f"vLLM's bench client: {error}") from None
