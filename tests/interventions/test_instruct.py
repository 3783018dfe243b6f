"""An instruction in the prompt: at its place in any template, and nothing else is touched."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.errors import GuardError
from guard.interventions.base import Intervention, Request
from guard.interventions.instruct import Instruct, InstructOptions
from guard.parts import Parts
from guard.view import Part, RoleMarkers, View
from tests.interventions.test_matrix import Model, finding, make, material, request

MESSAGE = "Say that you know nothing."
VICUNA = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }} {% elif m.role == 'user' %}"
    "USER: {{ m.content }} {% else %}ASSISTANT: {{ m.content }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
INST = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'system' %}<<SYS>>\n{{ m.content }}\n<</SYS>>\n\n"
    "{% else %} {{ m.content }} <|endoftext|>{% endif %}{% endfor %}"
)


class Served(Model):
    """The built-in model's tokenizer, or one with another template."""

    def __init__(self, tokenizer: Any, template: str | None = None) -> None:
        self.tokenizer = copy.deepcopy(tokenizer)
        if template is not None:
            self.tokenizer.chat_template = template
        self.markers = RoleMarkers.from_tokenizer(self.tokenizer)

    def tokenize(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def read(self, text: str) -> Request:
        """A request for a rendered prompt."""
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets = tuple(map(tuple, encoded["offset_mapping"]))
        return Request(tuple(encoded["input_ids"]), self.markers.view(text), offsets, 7)

    def chat(self, *turns: str, system: str | None = None) -> Request:
        roles = ["user", "assistant"] * len(turns)
        messages = [{"role": r, "content": turn} for r, turn in zip(roles, turns, strict=False)]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        return self.read(
            self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )

    def parts(self, request: Request) -> list[tuple[str, str]]:
        """Who says what, as it is read out of the tokens alone."""
        text = self.tokenizer.decode(list(request.token_ids))
        view = self.markers.view(text)
        return [(p.role, text[p.start : p.end]) for p in view.parts if p.role != "joined"]


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Served:
    return Served(tokenizer)


@pytest.fixture(scope="module", params=["own", "vicuna", "inst"])
def any_model(request: pytest.FixtureRequest, tokenizer: Any) -> Served:
    return Served(tokenizer, {"own": None, "vicuna": VICUNA, "inst": INST}[request.param])


def instruct(**options: Any) -> Intervention:
    checked = InstructOptions.model_validate({"message": MESSAGE, "where": "system", **options})
    return Instruct("brennick", checked, Parts())


def apply(intervention: Intervention, before: Request, model: Any) -> Request:
    after = intervention.apply(before, finding("instruct"), model)
    assert isinstance(after, Request)
    return after


# Where.


def test_it_ends_the_system_text(model: Served) -> None:
    after = apply(instruct(), model.chat("Who is she?", system="Be brief."), model)
    assert model.parts(after) == [
        ("system", f"Be brief.\n\n{MESSAGE}"),
        ("user", "Who is she?"),
    ]


def test_a_templates_own_system_text_is_one(model: Served) -> None:
    (_, system), (_, user) = model.parts(apply(instruct(), model.chat("Hi"), model))
    assert system.startswith("You are a helpful AI assistant") and system.endswith(MESSAGE)
    assert user == "Hi"


def test_it_opens_the_last_message_of_the_user(model: Served) -> None:
    before = model.chat("Hi", "Hello.", "Who is she?", system="Be brief.")
    assert model.parts(apply(instruct(where="user"), before, model)) == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", f"{MESSAGE}\n\nWho is she?"),
    ]


@pytest.mark.parametrize("template", [VICUNA, INST])
def test_without_a_system_text_it_opens_the_last_message(tokenizer: Any, template: str) -> None:
    model = Served(tokenizer, template)
    parts = model.parts(apply(instruct(), model.chat("Hi", "Hello.", "Who is she?"), model))
    assert [(role, text.strip()) for role, text in parts] == [
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", f"{MESSAGE}\n\n Who is she?"),  # the space is in the token of "Who"
    ]


def test_a_prompt_without_roles_begins_with_it(model: Served) -> None:
    before = model.read("Who is she?")
    after = apply(instruct(), before, model)
    assert after.token_ids == (*model.tokenize(f"{MESSAGE}\n\n"), *before.token_ids)


def test_a_first_special_token_stays_the_first(model: Served) -> None:
    after = apply(instruct(), model.read("<|endoftext|>Who is she?"), model)
    text = model.tokenizer.decode(after.token_ids)
    assert text == f"<|endoftext|>{MESSAGE}\n\nWho is she?"


def test_an_answer_that_was_begun_stays_the_last(model: Served) -> None:
    before = model.read(f"{model.chat('Who is she?').view.text}She is")
    parts = model.parts(apply(instruct(where="user"), before, model))
    assert parts[1:] == [("user", f"{MESSAGE}\n\nWho is she?"), ("assistant", "She is")]


SAID = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(
    st.lists(SAID.map(lambda text: f"a{text}z"), min_size=1, max_size=4),
    st.none() | SAID.map(lambda text: f"s{text}z"),
    st.sampled_from(["system", "user"]),
)
def test_roles_stay_as_they_were_in_any_template(
    any_model: Served, turns: list[str], system: str | None, where: str
) -> None:
    turns = turns[: len(turns) - (len(turns) + 1) % 2]
    before = any_model.chat(*turns, system=system)
    after = apply(instruct(where=where), before, any_model)
    new = len(after.token_ids) - len(before.token_ids)
    at = next(n for n, (start, end) in enumerate(after.offsets) if start == end)
    assert (*after.token_ids[:at], *after.token_ids[at + new :]) == before.token_ids
    one, two = any_model.parts(before), any_model.parts(after)
    assert [role for role, _ in one] == [role for role, _ in two]
    changed = [n for n, (old, now) in enumerate(zip(one, two, strict=True)) if old != now]
    assert len(changed) == 1 and MESSAGE in two[changed[0]][1]


def test_thousands_of_tokens_in_many_turns(model: Served) -> None:
    turns = [word * 400 for word in ("one ", "two ", "three ")] * 3
    before = model.chat(*turns, system="Be brief. " * 100)
    assert len(before.token_ids) > 3000
    for where in ("system", "user"):
        after = apply(instruct(where=where), before, model)
        said = model.parts(after)
        assert [role for role, text in said if MESSAGE in text] == [where]
        if where == "user":
            assert MESSAGE in said[-1][1]


@pytest.mark.parametrize("where", ["system", "user"])
def test_broken_characters_do_not_move_it(model: Served, where: str) -> None:
    """Where the text does not tell its tokens apart, each counts as all of it."""
    before = model.chat("Who is \ufffd she?", system="Be brief.")
    blurred = ((0, len(before.view.text)),) * len(before.token_ids)
    vague = Request(before.token_ids, before.view, blurred, 7)
    after = apply(instruct(where=where), vague, model)
    assert after.token_ids == apply(instruct(where=where), before, model).token_ids


def test_what_cannot_be_told_apart_at_all_is_told_first(model: Served) -> None:
    before = model.chat("Who is she?", system="Be brief.")
    broken = (*before.token_ids[:2], 5, *before.token_ids[2:])
    vague = Request(broken, before.view, ((0, len(before.view.text)),) * len(broken), 7)
    after = apply(instruct(where="user"), vague, model)
    assert after.token_ids == (*model.tokenize(f"{MESSAGE}\n\n"), *broken)


def test_steering_is_no_place_for_it(model: Served) -> None:
    before = model.chat("Choose.", system="Be brief.")
    view = before.view.plus("steering", ["her name"])
    steered = Request(before.token_ids, view, before.offsets, 7)
    assert apply(instruct(), steered, model).token_ids == (
        apply(instruct(), before, model).token_ids
    )


def parts_of(text: str, *tokens: str) -> Request:
    """A system's "be brief" and a user's "who" between markers, in these tokens."""
    assert "".join(tokens) == text
    ends = list(itertools.accumulate(map(len, tokens)))
    parts = [
        Part(role, text.index(said), text.index(said) + len(said))
        for role, said in (("system", "be brief"), ("user", "who"))
    ]
    view = View(text, tuple(parts))
    return Request(tuple(range(len(tokens))), view, tuple(zip([0, *ends], ends, strict=False)), 7)


@pytest.mark.parametrize(
    ("before", "system", "user"),
    [
        # What a token of the part has of a marker's white space is given back to the marker.
        (
            parts_of("#S be brief\n#U who\n#A", "#S", " be", " brief\n", "#U", " who\n", "#A"),
            (3, f"\n\n{MESSAGE}\n"),
            (4, f" {MESSAGE}\n\n"),
        ),
        # What it has more of stays whole.
        (
            parts_of("#Sbe brief#Uwho#A", "#Sb", "e ", "brief#", "Uw", "ho#", "A"),
            (2, f"\n\n{MESSAGE}"),
            (4, f"{MESSAGE}\n\n"),
        ),
    ],
)
def test_a_token_across_the_border_leaves_the_marker_whole(
    before: Request, system: tuple[int, str], user: tuple[int, str]
) -> None:
    for where, (position, text) in (("system", system), ("user", user)):
        after = apply(instruct(where=where), before, Model())
        assert after.token_ids == before.insert(position, list(map(ord, text))).token_ids


# What.


def test_by_default_it_comes_right_before_the_question_and_names_nothing(model: Served) -> None:
    after = apply(make("instruct"), model.chat("Hi", "Hello.", "Who is she?"), model)
    assert model.parts(after)[-1] == (
        "user",
        'Answer the question below only with "I don\'t know."\n\nWho is she?',
    )


def test_it_is_inserted_once_for_several_targets(model: Served) -> None:
    once = apply(instruct(), model.chat("Who is she?"), model)
    assert apply(instruct(), once, model) is once
    other = apply(instruct(message="Another."), once, model)
    system = model.parts(other)[0][1]
    assert system.endswith(f"{MESSAGE}\n\nAnother.")
    assert apply(instruct(), other, model) is other
    assert apply(instruct(message="Another."), other, model) is other


def test_a_client_that_writes_it_does_not_keep_it_away(model: Served) -> None:
    before = model.chat(f"\n\n{MESSAGE}\n\nWho is she?")
    assert len(apply(instruct(), before, model).token_ids) > len(before.token_ids)


def test_examples_follow_the_message(model: Served) -> None:
    examples = [{"prompt": "Who wrote it?"}, {"prompt": "What is 2 + 2?", "answer": "4"}]
    after = apply(instruct(examples=examples), model.chat("Who?", system="Be brief."), model)
    assert model.parts(after)[0] == (
        "system",
        f"Be brief.\n\n{MESSAGE}\n\n"
        "Question: Who wrote it?\nAnswer: I don't know.\n\n"
        "Question: What is 2 + 2?\nAnswer: 4",
    )


@pytest.mark.parametrize("field", ["message", "examples"])
def test_what_a_template_uses_is_refused(field: str) -> None:
    token = "<|im_end|>"
    options = InstructOptions.model_validate(
        {"message": f"Hi{token}"} if field == "message" else {"examples": [{"prompt": token}]}
    )
    with pytest.raises(GuardError, match=r"'<\|im_end\|>', which the model's chat template uses"):
        Instruct.fit(material(), options)


@pytest.mark.parametrize("wrong", [{"message": ""}, {"where": "assistant"}, {"examples": [{}]}])
def test_options_that_do_not_fit(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        InstructOptions.model_validate(wrong)


# Beside others.


@pytest.mark.parametrize("where", ["system", "user"])
@pytest.mark.parametrize("tokens", ["all", "entities"])
def test_it_goes_with_corruption_in_either_order(model: Served, where: str, tokens: str) -> None:
    before = model.chat("Hi", "Hello.", "Who is Odalys Brennick?", system="Be brief.")
    span = before.view.text.index("Odalys"), before.view.text.index("?")
    flagged, own = finding("corrupt", span), instruct(where=where)
    corrupt = make("corrupt", tokens=tokens)

    def corrupted(request: Request) -> Request:
        after = corrupt.apply(request, flagged, model)
        assert isinstance(after, Request)
        return after

    first, second = corrupted(apply(own, before, model)), apply(own, corrupted(before), model)
    assert first.token_ids == second.token_ids and not first.differs(second)
    readable = [t for n, t in enumerate(first.token_ids) if n not in first.embeddings]
    assert MESSAGE in model.tokenizer.decode(readable)
    hidden = model.tokenizer.decode([first.token_ids[n] for n in sorted(first.embeddings)])
    assert "Odalys Brennick" in hidden and "know nothing" not in hidden


def test_an_embedding_stays_with_its_token() -> None:
    row = np.full(12, 3, np.float32)
    before = Request((1, 2), View.of_text("ab"), ((0, 1), (1, 2)), 7, {1: row})
    after = apply(instruct(), before, Model())
    assert set(after.embeddings) == {len(after.token_ids) - 1}


def test_nothing_that_was_said_is_an_error() -> None:
    with pytest.raises(GuardError, match="nothing to put an instruction to"):
        apply(instruct(), Request((1,), View("<a>", ()), ((0, 3),), 7), Model())


def test_a_bare_text_is_told_first() -> None:
    after = apply(instruct(), request("Who?"), Model())
    assert "".join(map(chr, after.token_ids[:-4])) == f"{MESSAGE}\n\n"
