"""How likely given answers are to an endpoint: through our evaluation mode, or by an echo."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from benchmarks.leakage.ask import Forced, Likelihood
from benchmarks.leakage.systems.options import Remote
from benchmarks.leakage.systems.rendering import begun, forced_ids, goes_on, messages
from benchmarks.question import text_of
from guard.errors import GuardError

if TYPE_CHECKING:
    from openai import OpenAI

PATH = "/guard/score"
_MOST = 64  # answers in a request
_PLACEHOLDER = -9999.0  # what vLLM, and a guard, give where they tell nothing


class Scorer:
    """Scores answers at an endpoint.

    Args:
        client: Its client.
        remote: Where it is.
        token: The evaluation token of a guarded server; without, prompts are echoed.
        tokenizer: Gives the tokenizer of the endpoint's model.
        pool: Where requests wait.
    """

    def __init__(
        self,
        client: "OpenAI",
        remote: Remote,
        token: str | None,
        tokenizer: Callable[[], Any],
        pool: Executor,
    ) -> None:
        self._client = client
        self._remote = remote
        self._token = token
        self._tokenizer = tokenizer
        self._pool = pool

    def score(self, forced: Sequence[Forced]) -> list[Likelihood]:
        """Scores answers; None where the endpoint does not tell.

        Raises:
            GuardError: The evaluation mode is not there, or does not know the token.
        """
        if self._token is None:
            return list(self._pool.map(self._echoed, forced))
        found: list[Likelihood] = [None] * len(forced)
        for chat in (True, False):
            # The evaluation mode scores whole turns: what was begun already has no score.
            numbers = [
                n
                for n, one in enumerate(forced)
                if one.passage != chat and one.answer and not (chat and goes_on(one.prompt))
            ]
            parts = [numbers[at : at + _MOST] for at in range(0, len(numbers), _MOST)]
            for part in parts:
                scores = self._scored([forced[n] for n in part], chat)
                for number, score in zip(part, scores, strict=True):
                    found[number] = score
        return found

    def _scored(self, forced: Sequence[Forced], chat: bool) -> list[Likelihood]:
        """Through the evaluation mode; what it cannot score is left out by itself."""
        import openai

        some = [one if chat else begun(self._tokenizer(), one) for one in forced]
        body = {
            "prompts": [messages(one.prompt) if chat else text_of(one.prompt) for one in some],
            "answers": [one.answer for one in some],
            "chat": chat,
        }
        try:
            answer: Any = self._client.post(
                self._address(),
                cast_to=object,
                body=body,
                options={"headers": {"Authorization": f"Bearer {self._token}"}},
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError):
            raise GuardError(
                f"{self._remote.url}: the evaluation token in {self._remote.token} is not accepted"
            ) from None
        except openai.NotFoundError:
            raise GuardError(
                f"{self._remote.url}: has no evaluation mode; start the server with "
                "GUARD_EVALUATION_TOKEN, or leave --token out"
            ) from None
        except openai.APIStatusError:
            if len(forced) == 1:
                return [None]
            return [self._scored([one], chat)[0] for one in forced]
        return [None if one is None else tuple(one) for one in answer["scores"]]

    def _echoed(self, one: Forced) -> Likelihood:
        """By completions with an echo, where the endpoint takes tokens and echoes them."""
        import openai

        try:
            ids, start = forced_ids(self._tokenizer(), one)
            completion = self._client.completions.create(
                model=self._remote.model,
                prompt=ids,
                echo=True,
                logprobs=1,
                max_tokens=1,
                temperature=0,
            )
        except (ValueError, openai.BadRequestError):
            return None
        except (openai.InternalServerError, openai.RateLimitError):
            return None
        told = completion.choices[0].logprobs if completion.choices else None
        values = (told.token_logprobs or []) if told is not None else []
        # Fewer are no echo; a placeholder is no likelihood.
        some = values[start : len(ids)]
        if len(values) < len(ids) or any(v is None or v <= _PLACEHOLDER for v in some):
            return None
        return tuple(float(value) for value in some if value is not None)

    def _address(self) -> str:
        parts = urlsplit(self._remote.url)
        return urlunsplit((parts.scheme, parts.netloc, PATH, "", ""))
