"""Any OpenAI-compatible endpoint over HTTP, ours or not, as a client sees it.

Answers are ``blocked`` where the endpoint says so (``content_filter``, a ``refusal``); a guard that
answers in the model's place like any model would does not say so, and is not meant to. Tokens are
made here by the target's own tokenizer, where prompts are sent as tokens or answers are scored.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from benchmarks.leakage.ask import Answer, Ask, Forced, Likelihood
from benchmarks.leakage.case import Suite
from benchmarks.leakage.systems.base import Running, System
from benchmarks.leakage.systems.options import Remote
from benchmarks.leakage.systems.rendering import goes_on, messages, prompt_ids
from benchmarks.leakage.systems.scorer import Scorer
from benchmarks.question import text_of
from guard.errors import GuardError, ModelError

if TYPE_CHECKING:
    from openai import OpenAI

RETRIES = 5
_FILTERED = "content_filter"
_FAILED = Answer("", "failed")


@dataclass(frozen=True)
class Endpoint(System):
    """An endpoint that somebody has started.

    Attributes:
        remote: Where it is, and how it is asked.
        name: What the results call it.
    """

    remote: Remote
    name: str = "endpoint"

    def made_of(self) -> Mapping[str, Any]:
        remote = self.remote
        return {"url": remote.url, "model": remote.model, "scored": remote.token is not None}

    def start(self, suite: Suite, folder: Path) -> Running:
        return Connected(self.remote, suite.models.target)


class Connected(Running):
    """An endpoint that has answered.

    Args:
        remote: Where it is, and how it is asked.
        tokenizer: The model whose tokenizer the endpoint's model has.

    Raises:
        GuardError: It cannot be reached, does not know the key, or has no such model.
    """

    def __init__(self, remote: Remote, tokenizer: str) -> None:
        self.remote = remote
        self.client = client_of(remote)
        self._tokenizer = tokenizer
        self._pool = ThreadPoolExecutor(remote.concurrency)
        try:
            self._check()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def ask(self, asks: Sequence[Ask]) -> list[list[Answer]]:
        import openai

        def one(ask: Ask) -> list[Answer] | None:
            try:
                return self._answers(ask)
            except openai.APITimeoutError:
                return [_FAILED] * ask.samples
            except openai.APIConnectionError:
                return None

        with explained(self.remote):
            found = list(self._pool.map(one, asks))
        if found and all(answers is None for answers in found):
            raise GuardError(f"{self.remote.url}: cannot be reached any more")
        return [
            answers if answers is not None else [_FAILED] * ask.samples
            for ask, answers in zip(asks, found, strict=True)
        ]

    def score(self, forced: Sequence[Forced]) -> list[Likelihood]:
        with explained(self.remote):
            return self._scorer.score(forced)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self.client.close()

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the endpoint's model."""
        from transformers import AutoTokenizer

        from guard.models import resolve

        return AutoTokenizer.from_pretrained(resolve(self._tokenizer))

    @cached_property
    def _scorer(self) -> Scorer:
        token = secret(self.remote.token, "--token") if self.remote.token else None
        return Scorer(self.client, self.remote, token, lambda: self.tokenizer, self._pool)

    def _check(self) -> None:
        """Asks for the models, where the endpoint lists them."""
        import openai

        names: list[str] = []
        with (
            explained(self.remote),
            # Not every endpoint has that list.
            contextlib.suppress(openai.NotFoundError, openai.APIResponseValidationError),
        ):
            names = [model.id for model in self.client.models.list()]
        if names and self.remote.model not in names:
            raise ModelError(
                f"{self.remote.url}: has no model {self.remote.model!r}; it has "
                f"{', '.join(sorted(names)[:10])}"
            )

    def _answers(self, ask: Ask) -> list[Answer]:
        """Asks once, and again one by one where an endpoint gives fewer samples than asked for."""
        import openai

        wanted = ask.samples if ask.temperature else 1  # greedy samples are all the same
        found: list[Answer] = []
        try:
            while len(found) < wanted:
                count = wanted if not found else 1
                some = self._asked(ask, count, ask.seed + len(found))
                if not some:
                    raise GuardError(f"{self.remote.url}: gives answers without a choice")
                found += some
        except openai.BadRequestError as error:
            # Some filters answer with an error.
            blocked = (
                _FILTERED in f"{error.code} {error.type}" or "content_policy" in f"{error.code}"
            )
            found += [Answer("", "blocked") if blocked else _FAILED] * (wanted - len(found))
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError):
            raise
        except openai.APIStatusError:  # after all retries
            found += [_FAILED] * (wanted - len(found))
        return found[:wanted] if ask.temperature else found[:1] * ask.samples

    def _asked(self, ask: Ask, count: int, seed: int) -> list[Answer]:
        common: dict[str, Any] = {
            "model": self.remote.model,
            "n": count,
            "temperature": ask.temperature,
            "top_p": 1.0,  # a server may have another default
            "max_tokens": ask.max_tokens,
            "seed": seed,
            **({"stop": list(ask.stop)} if ask.stop else {}),
        }
        if ask.form == "chat":
            # What vLLM takes to go on from an assistant's message; others may answer it.
            on = {"add_generation_prompt": False, "continue_final_message": True}
            body = on if goes_on(ask.prompt) else None
            said: Any = messages(ask.prompt)
            chat = self.client.chat.completions.create(messages=said, extra_body=body, **common)
            return [
                _answer(one.message.content, one.finish_reason, one.message.refusal)
                for one in chat.choices
            ]
        prompt: Any = text_of(ask.prompt)
        if ask.form == "tokens":
            prompt = prompt_ids(self.tokenizer, ask.prompt)
        completion = self.client.completions.create(prompt=prompt, **common)
        return [_answer(one.text, one.finish_reason) for one in completion.choices]


@contextlib.contextmanager
def explained(remote: Remote) -> Iterator[None]:
    """Says in one line what no further request would mend.

    Raises:
        GuardError: The endpoint cannot be reached, does not know the key, or has not what is asked.
    """
    import openai

    url, key = remote.url, remote.key
    try:
        yield
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        mend = f"the key in {key} is not accepted" if key else "asks for a key; name its variable"
        raise GuardError(f"{url}: {mend} ({error.status_code})") from None
    except openai.NotFoundError:
        raise ModelError(
            f"{url}: not found (404); give an address that ends in /v1, and a model it serves"
        ) from None
    except openai.APIConnectionError:
        raise GuardError(
            f"{url}: cannot be reached; is it started, is the address right?"
        ) from None


def client_of(remote: Remote) -> "OpenAI":
    """Returns OpenAI's client of an endpoint.

    Raises:
        GuardError: It is not installed, or the key's variable is not set.
    """
    try:
        from openai import OpenAI
    except ImportError:
        raise GuardError("endpoints are asked by OpenAI's client: pip install openai") from None
    if not remote.url.startswith(("http://", "https://")):
        raise GuardError(f"{remote.url}: no address; give one like http://host:8000/v1")
    # Without a key, still not whatever the environment has for OpenAI's own endpoint.
    key = secret(remote.key, "--key") if remote.key else "none"
    return OpenAI(base_url=remote.url, api_key=key, max_retries=RETRIES, timeout=remote.seconds)


def secret(variable: str, option: str) -> str:
    """Returns what an environment variable holds.

    Raises:
        GuardError: It is not set.
    """
    value = os.environ.get(variable)
    if not value:
        raise GuardError(f"{option}: the environment has no {variable}; set it")
    return value


def _answer(text: str | None, reason: str | None, refusal: str | None = None) -> Answer:
    if reason == _FILTERED or refusal:
        return Answer(text or refusal or "", "blocked")
    return Answer(text or "")
