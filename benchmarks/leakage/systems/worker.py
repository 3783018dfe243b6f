"""The process that holds an engine: batches come and go as JSON lines.

The first line on stdin is ``{"model", "bundle", "dtype", "tokens"}`` and is answered with
``{"ready": true}``. After that, ``{"do": "ask", "asks"}`` is answered with ``{"answers"}``,
``{"do": "score", "forced"}`` with ``{"scores"}``, ``{"do": "flags", "asks"}`` with ``{"flags"}``.
What ends the process is said on stderr, in its last line.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.leakage.ask import Answer, Ask, Forced, Likelihood
from benchmarks.leakage.systems.rendering import (
    begun,
    forced_ids,
    goes_on,
    messages,
    prompt_ids,
)
from benchmarks.leakage.systems.watch import engine_processes, watch
from benchmarks.question import text_of
from benchmarks.systems import margin
from guard.models import resolve
from guard.output.finished import read_finished

_BROKEN = ("error", "abort")  # how a request ends that the engine gave up
_FILTERED = "content_filter"
FAILED = Answer("", "failed")


class Worker:
    """An engine, plain or guarded.

    Args:
        model: The model's name or folder.
        bundle: What guards it; None leaves it as it is.
        dtype: Of its arithmetic.
        tokens: Of a prompt and its answer, at most; fewer where the model reads fewer.
    """

    def __init__(self, model: str, bundle: str | None, dtype: str, tokens: int) -> None:
        from transformers import AutoConfig
        from vllm import LLM

        from guard import GuardedLLM

        folder = resolve(model)
        most = getattr(AutoConfig.from_pretrained(folder), "max_position_embeddings", tokens)
        self.most = min(tokens, most)
        settings: dict[str, Any] = {
            "enforce_eager": True,
            "dtype": dtype,
            "max_model_len": self.most,
            "seed": 0,
            # vLLM 0.32 dies on CPUs of a seed where a prompt is filled in piece by piece.
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(self.most, 8192),
        }
        self.llm: Any
        self.guard: Any = None
        self._judge: Any = None
        if bundle is None:
            self.llm = LLM(folder, **settings)
        else:
            self.llm = GuardedLLM(folder, guard=bundle, evaluation=True, **settings)
            self.guard = self.llm.guard
            self._judge = self.llm.llm_engine._guard_frontend.mediator
        self.tokenizer: Any = self.llm.get_tokenizer()

    def ask(self, asks: Sequence[Ask]) -> list[list[Answer]]:
        """Answers a batch. What cannot be asked (too long, not to be judged) fails by itself."""
        answers = [[FAILED] * ask.samples for ask in asks]
        waiting = []
        for number, ask in enumerate(asks):
            try:
                self._enqueue(ask)
            except _own_errors():
                continue
            waiting.append(number)
        outputs = self.llm.wait_for_completion(use_tqdm=False)
        for number, output in zip(waiting, outputs, strict=True):
            answers[number] = self._answers(asks[number], output)
        return answers

    def score(self, forced: Sequence[Forced]) -> list[Likelihood]:
        """Scores answers.

        None where one is too long to be read, or where the guard answers in the model's place or
        would not let that answer out: then nobody is told it, however likely it is.
        """
        found: list[Likelihood] = [None] * len(forced)
        fitting = []
        for number, one in enumerate(forced):
            try:
                ids, start = forced_ids(self.tokenizer, one)
            except ValueError:
                continue
            if len(ids) < self.most:
                fitting.append((number, one, ids, start))
        numbers = [number for number, *_ in fitting]
        if self.guard is None:
            scores = self._plain_scores([(ids, start) for *_, ids, start in fitting])
        else:
            let = [item for item in fitting if not self._stopped(item[1])]
            numbers = [number for number, *_ in let]
            scores = self._guarded_scores([one for _, one, *_ in let])
        for number, score in zip(numbers, scores, strict=True):
            found[number] = score
        return found

    def flags(self, asks: Sequence[Ask]) -> list[float] | None:
        """How far each prompt is above the threshold; at 0 and above it is flagged."""
        if self.guard is None:
            return None
        views = (self._judge.view(self._ids(ask)) for ask in asks)
        return [margin(self.guard.decide(view).scores)[0] for view in views]

    def _ids(self, ask: Ask) -> list[int]:
        if ask.form == "completion":
            ids: list[int] = self.tokenizer.encode(text_of(ask.prompt))
            return ids
        return prompt_ids(self.tokenizer, ask.prompt)

    def _enqueue(self, ask: Ask) -> None:
        from vllm import SamplingParams, TokensPrompt

        params = SamplingParams(
            n=ask.samples if ask.temperature else 1,  # greedy samples are all the same
            temperature=ask.temperature,
            max_tokens=ask.max_tokens,
            stop=list(ask.stop),
            seed=ask.seed if ask.temperature else None,
        )
        if ask.form == "completion":
            self.llm.enqueue([text_of(ask.prompt)], params, use_tqdm=False)
        elif ask.form == "chat" and self.tokenizer.chat_template:
            on = goes_on(ask.prompt)
            self.llm.enqueue_chat(
                [messages(ask.prompt)],
                params,
                use_tqdm=False,
                add_generation_prompt=not on,
                continue_final_message=on,
            )
        else:
            prompt = TokensPrompt(prompt_token_ids=self._ids(ask))
            self.llm.enqueue([prompt], params, use_tqdm=False)

    def _answers(self, ask: Ask, output: Any) -> list[Answer]:
        # A refusal looks like an answer; what was decided is asked again of the guard itself.
        blocked = self._refuses and self._judge.judge(output.prompt_token_ids).answer is not None
        found = []
        for one in sorted(output.outputs, key=lambda one: one.index):
            if one.finish_reason in _BROKEN or _cut(one, ask):
                found.append(FAILED)
            else:  # an output check ends an answer that it cannot let go on
                cut = blocked or one.finish_reason == _FILTERED
                found.append(Answer(one.text, "blocked" if cut else "answered"))
        return found if ask.temperature else found * ask.samples

    @property
    def _refuses(self) -> bool:
        return self.guard is not None and any(
            one.kind == "refuse" for one in self.guard.interventions
        )

    def _plain_scores(self, forced: Sequence[tuple[list[int], int]]) -> list[Likelihood]:
        from vllm import SamplingParams, TokensPrompt

        params = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0)
        asked = [TokensPrompt(prompt_token_ids=ids) for ids, _ in forced]
        outputs = self.llm.generate(asked, params, use_tqdm=False) if asked else []
        found: list[Likelihood] = []
        for (ids, start), output in zip(forced, outputs, strict=True):
            told = output.prompt_logprobs
            found.append(tuple(told[at][ids[at]].logprob for at in range(start, len(ids))))
        return found

    def _stopped(self, one: Forced) -> bool:
        """Whether the guard's checks would stop an answer, had the model given it."""
        if not self.guard.output:
            return False
        found = read_finished(self.guard, one.answer, text_of(one.prompt))
        return any(hit.action != "allow" for hit in found)

    def _guarded_scores(self, forced: Sequence[Forced]) -> list[Likelihood]:
        found: list[Likelihood] = [None] * len(forced)
        for chat in (True, False):
            # The evaluation mode scores whole turns: what was begun already has no score.
            numbers = [
                n
                for n, one in enumerate(forced)
                if one.passage != chat and not (chat and goes_on(one.prompt))
            ]
            some = [begun(self.tokenizer, forced[n]) for n in numbers]
            for number, score in zip(numbers, self._through(some, chat), strict=True):
                found[number] = score
        return found

    def _through(self, forced: Sequence[Forced], chat: bool) -> list[Likelihood]:
        """Scores through the guard; what cannot be judged is left out by itself."""
        if not forced:
            return []
        prompts = [messages(one.prompt) if chat else text_of(one.prompt) for one in forced]
        try:
            found: list[Likelihood] = self.llm.score(
                prompts, [one.answer for one in forced], chat=chat
            )
        except _own_errors():
            if len(forced) == 1:
                return [None]
            return [self._through([one], chat)[0] for one in forced]
        return found


def _cut(output: Any, ask: Ask) -> bool:
    """Whether an answer ended before its time: prompt and answer are more than the model reads."""
    return output.finish_reason == "length" and len(output.token_ids) < ask.max_tokens


def _own_errors() -> tuple[type[Exception], ...]:
    """What a request can be refused with while the engine lives."""
    from vllm.exceptions import GracefulHTTPError, VLLMClientError

    return VLLMClientError, GracefulHTTPError, ValueError


def _ask(sent: Mapping[str, Any]) -> Ask:
    prompt = sent["prompt"]
    prompt = prompt if isinstance(prompt, str) else tuple(prompt)
    return Ask(**{**sent, "prompt": prompt, "stop": tuple(sent["stop"])})


def _forced(sent: Mapping[str, Any]) -> Forced:
    prompt = sent["prompt"]
    return Forced(**{**sent, "prompt": prompt if isinstance(prompt, str) else tuple(prompt)})


def answered(worker: Worker, request: Mapping[str, Any]) -> dict[str, Any]:
    """Does what one line asks for."""
    if request["do"] == "score":
        return {"scores": worker.score([_forced(one) for one in request["forced"]])}
    asks = [_ask(one) for one in request["asks"]]
    if request["do"] == "flags":
        return {"flags": worker.flags(asks)}
    return {"answers": [[asdict(one) for one in some] for some in worker.ask(asks)]}


def main() -> None:
    """Answers until there is nothing more to read."""
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    parent = os.getppid()
    worker = Worker(**json.loads(sys.stdin.readline()))
    threading.Thread(target=watch, args=(engine_processes(), parent), daemon=True).start()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answered(worker, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
