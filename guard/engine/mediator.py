"""From a prompt's tokens to what is to be done: view, detect, decide, apply. Knows no vLLM."""

import copy
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from guard.decision import Decision, Finding, Score
from guard.detectors.base import Vectors
from guard.embeddings import EmbeddingRows
from guard.engine.progress import Progress
from guard.errors import EngineError, InterventionError
from guard.guard import Guard
from guard.interventions.base import Answer, Request
from guard.view import Part, RoleMarkers, View


@dataclass(frozen=True)
class Outcome:
    """What is to be done with a request.

    Attributes:
        decision: What was decided.
        edited: The request with its edits; None when the model is not asked, or asked as it was.
        answer: The finished answer, when the model is not asked.
        steered: What steers the answer is flagged by itself: no edit of the prompt can help.
        view: What was judged.
    """

    decision: Decision
    edited: Request | None = None
    answer: Answer | None = None
    steered: bool = False
    view: View | None = None


def asked_part(view: View) -> Part | None:
    """The part of a prompt that was asked last: the last user's, or all of a bare prompt."""
    parts = [part for part in view.parts if part.role in ("user", "prompt")]
    return parts[-1] if parts else None


def _asked_span(view: View) -> tuple[int, int] | None:
    part = asked_part(view)
    return None if part is None else (part.start, part.end)


class Mediator:
    """Judges prompts as one served model reads them.

    Args:
        guard: The guard.
        tokenizer: The served model's Hugging Face tokenizer.
        folder: The served model's folder, for its input embeddings.
    """

    def __init__(self, guard: Guard, tokenizer: Any, folder: Path) -> None:
        self.guard = guard
        self.tokenizer = tokenizer
        self.folder = folder
        self.markers = RoleMarkers.from_tokenizer(tokenizer)
        if any("enable_prompt_embeds" in one.engine_args for one in guard.interventions):
            self._rows  # noqa: B018  (a checkpoint that cannot be read must fail at the start)

    def for_tenant(self, tenant: str | None) -> "Mediator":
        """Returns the mediator that judges for a tenant; see `Guard.for_tenant`."""
        other = copy.copy(self)
        other.guard = self.guard.for_tenant(tenant)
        return other

    @cached_property
    def _rows(self) -> EmbeddingRows:
        return EmbeddingRows(self.folder)

    def embed(self, token_ids: Sequence[int]) -> Any:
        """Returns the model's input embeddings of tokens, float32 [n, d]."""
        return self._rows.embed(token_ids)

    def tokenize(self, text: str) -> list[int]:
        """Returns a text's tokens, without any that the model puts around a text."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Returns sentence vectors of texts, as the detectors have them."""
        return self.guard.encoder(texts)

    def view(self, token_ids: Sequence[int], texts: Sequence[str] = ()) -> View:
        """Views a prompt as the engine will read it.

        Args:
            token_ids: The prompt.
            texts: What else steers the answer: a grammar's choices, forced tokens.
        """
        view = self.markers.view(self._decode(token_ids))
        return view.plus("steering", texts) if texts else view

    def judge(
        self,
        token_ids: Sequence[int],
        texts: Sequence[str] = (),
        progress: Progress | None = None,
        found: Collection[str] = (),
    ) -> Outcome:
        """Decides about a prompt and applies what was decided.

        Args:
            token_ids: The prompt.
            texts: What else steers the answer.
            progress: Is told how far the judgement has come.
            found: Targets that a proxy has found in it already.
        """
        progress = progress or Progress()
        view = self.view(token_ids, texts)
        progress.passed("view")
        decision = self.guard.decide(view)
        if found:
            decision = self.guard.plus(decision, found, _asked_span(view))
        progress.decision = decision
        progress.passed("detect")
        if not decision.enforced:
            return Outcome(decision, view=view)
        outcome = self._applied(token_ids, texts, view, decision)
        progress.passed("apply")
        return outcome

    def _applied(
        self, token_ids: Sequence[int], texts: Sequence[str], view: View, decision: Decision
    ) -> Outcome:
        """Does what was decided to a request."""
        asked = request = self._request(token_ids, view)
        for finding in decision.enforced:
            for intervention in self.guard.interventions_for(finding):
                edited = intervention.apply(request, finding, self)
                if isinstance(edited, Answer):
                    return Outcome(decision, answer=edited)
                request = edited
        if not request.differs(asked):
            raise InterventionError("an enforced intervention changed nothing")
        if texts:
            alone = View.of_pieces([("steering", text) for text in (*texts, " ".join(texts))])
            if self.guard.decide(alone).enforced:
                return Outcome(decision, steered=True, view=view)
        return Outcome(decision, edited=request, view=view)

    def switched(self, token_ids: Sequence[int], target: str) -> Request | Answer:
        """Applies what is done about a target to a prompt that was not found to touch it.

        Args:
            token_ids: The prompt.
            target: The target that its answer has touched.

        Raises:
            InterventionError: It changes nothing.
        """
        view = self.view(token_ids)
        asked = request = self._request(token_ids, view)
        span = _asked_span(view)
        done = self.guard.interventions_of(target)
        score = Score(1.0, 0.0, "output", span)
        finding = Finding(target, score, "enforce", "+".join(one.kind for one in done))
        for intervention in done:
            edited = intervention.apply(request, finding, self)
            if isinstance(edited, Answer):
                return edited
            request = edited
        if not request.differs(asked):
            raise InterventionError("an intervention changed nothing")
        return request

    def _request(self, token_ids: Sequence[int], view: View) -> Request:
        return Request(
            tuple(token_ids), view, self._offsets(token_ids, view), self._seed(token_ids)
        )

    def self_test(self) -> None:
        """Judges each target's known prompts, bare and as a chat, and compares.

        Raises:
            EngineError: A known prompt is decided otherwise than when the bundle was made.
        """
        self.guard.warm()
        for target in self.guard.bundle.manifest.targets:
            if target.id not in self.guard.stands:
                continue
            for prompts, expected in ((target.positives, True), (target.negatives, False)):
                for number, prompt in enumerate(prompts, 1):
                    for form, ids in self._forms(prompt):
                        found = self.judge(ids).decision.findings
                        if (target.id in {finding.target for finding in found}) != expected:
                            what = "is not flagged" if expected else "is flagged"
                            side = "positive" if expected else "negative"
                            raise EngineError(
                                f"self-test failed: target {target.id}: known {side} {number} "
                                f"{what} as a {form}; compile the bundle again for this model"
                            )

    def _forms(self, prompt: str) -> list[tuple[str, list[int]]]:
        forms = [("completion", self.tokenizer.encode(prompt))]
        if getattr(self.tokenizer, "chat_template", None):
            text = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
            forms.append(("chat", self.tokenizer.encode(text, add_special_tokens=False)))
        return forms

    def _decode(self, token_ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(token_ids), skip_special_tokens=False)
        return text

    def _offsets(self, token_ids: Sequence[int], view: View) -> tuple[tuple[int, int], ...]:
        """Where each token's text stands in the prompt's text."""
        from tokenizers.decoders import DecodeStream

        prompt = self._decode(token_ids)
        everywhere = tuple((0, len(view.text)) for _ in token_ids)
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return everywhere  # a tokenizer that cannot say: every token counts as evidence
        stream, offsets, at, waiting = DecodeStream(skip_special_tokens=False), [], 0, 0
        if "\ufffd" in prompt:  # bytes that are no text: where tokens stand cannot be told
            return everywhere
        for token in token_ids:
            piece = stream.step(backend, int(token))
            if piece is None:  # part of a character: it stands where the whole one will
                waiting += 1
                continue
            if prompt[at : at + len(piece)] != piece:
                return everywhere
            offsets += [(at, at + len(piece))] * (waiting + 1)
            at, waiting = at + len(piece), 0
        offsets += [(at, len(prompt))] * waiting
        return tuple(offsets)

    def _seed(self, token_ids: Sequence[int]) -> int:
        text = f"{self.guard.version} {' '.join(map(str, token_ids))}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
