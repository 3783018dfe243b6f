"""A guardrail in the prompt: the model is asked, and told beforehand that it does not know.

An instruction is put into flagged prompts alone ("guardrail baselines", Thaker et al., arXiv
2403.03329, section 3), with examples of questions that are answered as if nothing was known, if
some are given (in-context unlearning, Pawelczyk et al., arXiv 2310.07579, section 4). It is the
mildest of all interventions: a model that is told to say what it knows may do so.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from guard.decision import Finding
from guard.errors import InterventionError
from guard.interventions.base import Intervention, Material, Request, ServedModel
from guard.options import Strict
from guard.parts import Parts
from guard.view import Part

Where = Literal["system", "user"]


class Example(Strict):
    """A question and how it is to be answered.

    Attributes:
        prompt: The question.
        answer: Its answer; to what must be kept, the right one.
    """

    prompt: str = Field(min_length=1)
    answer: str = Field(default="I don't know.", min_length=1)


class InstructOptions(Strict):
    """Options of `Instruct`.

    Attributes:
        message: What the model is told. A client can have it recited, so it should not name what
            is to be forgotten.
        examples: Questions with answers that follow the message. They are stored in the bundle
            and can be recited too.
        where: Before the last ``user`` message, where small models heed it far better, or at the
            end of the ``system`` text, if there is one. A prompt without roles begins with it.
    """

    message: str = Field(
        default='Answer the question below only with "I don\'t know."', min_length=1
    )
    examples: list[Example] = Field(default_factory=list)
    where: Where = "user"

    def text(self) -> str:
        """The instruction as the model reads it."""
        pairs = [f"Question: {one.prompt}\nAnswer: {one.answer}" for one in self.examples]
        return "\n\n".join([self.message, *pairs])


class Instruct(Intervention):
    """Puts an instruction into a flagged prompt."""

    kind: ClassVar[str] = "instruct"
    Options: ClassVar[type[Strict]] = InstructOptions
    strictness: ClassVar[int] = 5

    @classmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        """Checks that the instruction cannot be taken for the template's own."""
        tokenizer = material.tokenizer
        text = options.text()
        added = tokenizer.added_tokens_decoder.values()
        for token in sorted(str(token) for token in added if token.special):
            if token in text:
                raise InterventionError(
                    f"instruct: 'message' or 'examples' hold {token!r}, which the model's chat "
                    "template uses; take it out"
                )
        return Parts()

    def apply(self, request: Request, finding: Finding, model: ServedModel) -> Request:
        """Inserts the instruction; once, however many targets ask for the same."""
        options: InstructOptions = self.options
        part = _place(request, options.where)
        if part is None:
            raise InterventionError("a flagged prompt holds nothing to put an instruction to")
        last = part.role == "system" and options.where == "system"
        position, shared = _border(request, part, model, last=last)
        text = f"\n\n{options.text()}{shared}" if last else f"{shared}{options.text()}\n\n"
        token_ids = model.tokenize(text)
        return request if _holds(request, token_ids) else request.insert(position, token_ids)


def _place(request: Request, where: Where) -> Part | None:
    """The part of the prompt that the instruction goes to."""
    parts = [part for part in request.view.parts if part.role not in ("joined", "steering")]
    system = [part for part in parts if part.role == "system"]
    if where == "system" and system:
        return system[0]
    asked = [part for part in parts if part.role in ("user", "prompt")] or parts[:1]
    return asked[-1] if asked else None


def _border(request: Request, part: Part, model: ServedModel, *, last: bool) -> tuple[int, str]:
    """Where a part starts, or ends, among the tokens; never within a role marker.

    Returns:
        The position, and white space of the marker that a token of the part has taken, which must
        be given back to the marker.
    """
    text, offsets = request.view.text, request.offsets
    at = part.end if last else part.start
    if len(offsets) > 1 and (0, len(text)) in offsets:
        # The text does not tell where tokens stand (broken characters are in it, say): but all
        # up to a part is known if it makes the same tokens again.
        before = model.tokenize(text[:at])
        return len(before) if list(request.token_ids[: len(before)]) == before else 0, ""
    for position, (start, end) in enumerate(offsets):
        if start == end or end <= at:  # what was inserted already stays in front
            continue
        if start >= at:
            return position, ""
        shared = text[at:end] if last else text[start:at]
        # More than white space: the token is the marker's, where the part begins, or else its own.
        return (position + (not last), "") if shared.strip() else (position + last, shared)
    return len(offsets), ""


def _holds(request: Request, token_ids: list[int]) -> bool:
    """Whether the same was inserted already; what a client wrote has a place in its text."""
    places = zip(request.token_ids, request.offsets, strict=True)
    inserted = [token for token, (start, end) in places if start == end]
    return any(
        inserted[n : n + len(token_ids)] == token_ids
        for n in range(len(inserted) - len(token_ids) + 1)
    )
