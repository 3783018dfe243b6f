"""From a judged request to the checking of its answers."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from guard.engine import compat
from guard.engine.checking import Answers
from guard.engine.lane import Ask, Checks
from guard.engine.mediator import Outcome, asked_part
from guard.interventions.base import Answer
from guard.manifest import Mode
from guard.output.base import Reader
from guard.view import View

if TYPE_CHECKING:
    from guard.engine.frontend import Admitted, Frontend


def answers_for(
    frontend: "Frontend", request_id: str, admitted: "Admitted", outcome: Outcome | None, ask: Ask
) -> Answers | None:
    """Returns what checks a request's answers; None where none are checked.

    Args:
        frontend: The engine's front end.
        request_id: The request's id.
        admitted: The request as the client sent it.
        outcome: What was decided about it; None where it could not be judged.
        ask: What the engine is asked, with all edits.

    Raises:
        Exception: vLLM's validation error: its answers cannot be checked.
    """
    served = admitted.served
    guard, mediator = served.guard, served.mediator
    output = guard.output
    if not output or admitted.forced or compat.is_pooling(ask.params):
        return None
    ids = admitted.rendered["prompt_token_ids"]
    view = outcome.view if outcome is not None else None
    view = view if view is not None else mediator.view(ids, admitted.texts)
    question = _question(view)
    doubted = guard.doubted(None if outcome is None else outcome.decision)

    def readers(mode: Mode) -> Sequence[Reader]:
        return [reader for _, reader in output.start(question, view.text, doubted, mode)]

    def switched(target: str) -> Ask | str:
        edited = mediator.switched(ids, target)
        if isinstance(edited, Answer):
            return edited.text
        prompt, params, lora_request = frontend.edited(admitted, edited, f"switch {target}")
        return Ask(prompt, params, lora_request)

    def count(action: str) -> None:
        frontend.counts[action] += 1

    checks = Checks(
        readers, output.rules, mediator.encode, switched, partial(frontend.hidden, admitted),
        count, served.opens, frontend.tokenizer, frontend.record,
        partial(frontend.record.stage, "check"), served.version,
    )  # fmt: skip
    return Answers(request_id, ask, admitted.params, checks)


def _question(view: View) -> str:
    part = asked_part(view)
    return view.text if part is None else view.text[part.start : part.end]
