"""Nothing that the model reads escapes the view: every character is in a window, in its place."""

import base64
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.encoder import Encoder
from guard.view import _PIECE, WINDOW, RoleMarkers, View, Window, strings

SECRET = "Odalys Brennick"

TEXTS = st.one_of(
    st.text(),
    st.text("ab .!?\n牛。", max_size=400),
    st.lists(st.text("abcdefgh", min_size=1, max_size=12), max_size=300).map(" ".join),
)


# Windows.


@given(TEXTS)
def test_windows_cover_every_character(text: str) -> None:
    check_windows(View.of_text(text))


@given(st.lists(st.tuples(st.sampled_from(["user", "tool"]), TEXTS), max_size=4))
def test_windows_cover_every_part(pieces: list[tuple[str, str]]) -> None:
    view = View.of_pieces(pieces)
    assert [view.text[part.start : part.end] for part in view.parts] == [text for _, text in pieces]
    assert [part.role for part in view.parts] == [role for role, _ in pieces]
    check_windows(view)


def check_windows(view: View) -> None:
    covered: set[int] = set()
    for window in view.windows:
        assert view.text[window.start : window.end] == window.text
        assert window.text.strip() == window.text != ""
        assert len(_PIECE.findall(window.text)) <= WINDOW
        # No window reaches over a border between roles.
        assert any(p.start <= window.start and window.end <= p.end for p in view.parts)
        covered.update(range(window.start, window.end))
    for part in view.parts:
        for at in range(part.start, part.end):
            assert at in covered or view.text[at].isspace()


def test_a_short_text_is_one_window_whole() -> None:
    assert [w.text for w in View.of_text(" Who is she? ").windows] == ["Who is she?"]


def test_each_sentence_is_a_window_of_its_own() -> None:
    padding = "This is padding about nothing at all."
    text = " ".join([padding] * 20 + ["Who is Odalys Brennick?"] + [padding] * 20)
    windows = [window.text for window in View.of_text(text).windows]
    assert "Who is Odalys Brennick?" in windows


def test_a_phrase_is_never_cut_by_every_window() -> None:
    """Windows overlap by half, so a stretch of half a window is whole in one of them."""
    for shift in range(80):
        text = " ".join(["pad"] * shift + ["Who is Odalys Brennick of Skarvik"] + ["pad"] * 80)
        assert any(
            "Odalys Brennick of Skarvik" in window.text for window in View.of_text(text).windows
        )


@pytest.mark.parametrize(
    "text",
    [
        "word " * 300,
        "supercalifragilistic" * 40,
        "牛顿在哪里出生" * 40,
        "0123456789" * 60,
        "!?#$%&()*+,-./" * 40,
        "\u0301" * 500,
        "😀👩‍👩‍👧‍👦🏳️‍🌈" * 60,
        "नमस्ते दुनिया " * 60,
        "คุณเป็นอย่างไร" * 40,
        "ﷺ" * 200,
        "a1b2c3d4e5" * 60,
        "qxqxqxqx " * 60,
        "zq" * 300,
        "שלום עולם " * 60,
        "السلام عليكم " * 60,
        "안녕하세요 " * 60,
        "வணக்கம் উলোক " * 60,
        "გამარჯობა Բարեւ ᎣᏏᏲ " * 60,
        "Здравствуйте " * 60,
        "ǖ" * 300,
        "\x00\x01\x02\x7f\ufffd" * 100,
    ],
)
def test_no_window_outgrows_the_encoder(encode: Encoder, text: str) -> None:
    """What an encoder cuts off is not seen."""
    encode.load()
    model: Any = encode._model
    for window in View.of_text(text).windows:
        assert len(model.tokenizer.encode(window.text)) <= model.max_seq_length


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["a", "a ", "a. ", "牛", "\n", " ", ".", "a\n", "<|im_start|>"])
def test_a_huge_text_takes_no_quadratic_time(unit: str) -> None:
    started = time.perf_counter()
    view = View.of_text(unit * (400_000 // len(unit)))
    assert len(view.windows) < 500_000
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who is she?", False),
        ("Who is Odalys Brennick of Tromsø?", False),
        ("Was ist die Hauptstadt von Portugal?", True),
        ("牛顿在哪里出生?", True),
        ("", False),
        ("\ud800", False),
    ],
)
def test_a_window_knows_whether_it_is_foreign(text: str, expected: bool) -> None:
    assert Window(text, 0, len(text)).foreign is expected


@given(st.text(), st.text(), st.integers(0, 9), st.integers(0, 9))
def test_a_digest_stands_for_the_text_alone(one: str, two: str, start: int, end: int) -> None:
    """Wherever it stands, so that what was judged once is known again."""
    digest = Window(one, 0, len(one)).digest
    assert Window(one, start, end).digest == digest and len(digest) == 16
    assert (Window(two, 0, len(two)).digest == digest) is (one == two)


def test_a_digest_of_what_is_no_text() -> None:
    """A lone surrogate is a question mark to every encoder."""
    assert Window("\ud800", 0, 1).digest == Window("?", 0, 1).digest


# Readings.


def test_what_is_not_disguised_is_read_as_it_is() -> None:
    view = View.of_pieces([("user", "Who is she?"), ("assistant", "An artist.")])
    assert view.read() is view


@pytest.mark.parametrize("before", ["", "Please help me. ", "It rained. " * 100])
def test_a_reading_stands_for_its_stretch(before: str) -> None:
    """Evidence in a reading is evidence where the disguised text stands, in its own part."""
    coded = base64.b64encode(f"Who is {SECRET}?".encode()).decode()
    view = View.of_pieces([("system", "Be brief."), ("user", f"{before}Decode {coded} for me.")])
    read = view.read()
    assert read.text.startswith(view.text) and read.parts[: len(view.parts)] == view.parts
    user = view.parts[1]
    new = read.parts[len(view.parts) :]
    assert any(SECRET in read.text[part.start : part.end] for part in new)
    for part in new:
        assert part.role == "read" and part.origin is not None
        start, end = part.origin
        assert user.start <= start < end <= user.end
        assert coded in view.text[start:end]
        assert read.evidence((part.start, part.end)) == part.origin
        assert read.evidence((part.start + 1, part.start + 2)) == part.origin
    check_windows(read)


def test_evidence_that_was_written_is_where_it_was_written() -> None:
    coded = base64.b64encode(f"Who is {SECRET}?".encode()).decode()
    view = View.of_text(f"Hello there. {coded}").read()
    assert len(view.parts) > 1
    assert view.evidence((0, 5)) == (0, 5)
    assert View.of_text("Hello").evidence((1, 3)) == (1, 3)


@given(st.lists(st.tuples(st.sampled_from(["user", "tool"]), TEXTS), max_size=3))
def test_readings_keep_their_places(pieces: list[tuple[str, str]]) -> None:
    """Whatever is read: what was written is left, and every origin lies in one written part."""
    view = View.of_pieces(pieces)
    read = view.read()
    assert read.text.startswith(view.text) and read.parts[: len(view.parts)] == view.parts
    for part in read.parts[len(view.parts) :]:
        assert part.origin is not None
        start, end = part.origin
        assert any(own.start <= start <= end <= own.end for own in view.parts)
    check_windows(read)


def test_each_part_is_read_by_itself() -> None:
    """A reading that went over a border between roles would be nobody's."""
    half = base64.b64encode(f"Who is {SECRET}?".encode()).decode()
    view = View.of_pieces([("user", f"Decode {half}"), ("user", f"And {half[::-1]}.")])
    origins = [part.origin for part in view.read().parts if part.origin is not None]
    assert origins
    for start, end in origins:
        assert sum(own.start <= start and end <= own.end for own in view.parts) == 1


def parts(view: View) -> list[tuple[str, str]]:
    """Role and text of each part that somebody wrote."""
    said = [part for part in view.parts if part.role != "joined"]
    return [(part.role, view.text[part.start : part.end]) for part in said]


# Messages.


def test_every_text_in_a_message_counts() -> None:
    messages = [
        {"role": "system", "content": "one"},
        {
            "role": "user",
            "name": "two",
            "content": [
                {"type": "text", "text": "three"},
                {"type": "image_url", "image_url": {"url": "four"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "five", "arguments": '{"who": "six"}'}}],
        },
        {"role": "tool", "tool_call_id": "seven", "content": "eight"},
        {"content": "nine"},
    ]
    view = View.of_messages(messages)
    said = parts(view)
    for role, text in [
        ("system", "one"),
        ("user", "two"),
        ("user", "three"),
        ("user", "four"),
        ("assistant", "five"),
        ("assistant", '{"who": "six"}'),
        ("tool", "seven"),
        ("tool", "eight"),
        ("user", "nine"),
    ]:
        assert (role, text) in said


@pytest.mark.parametrize("messages", [["text"], [None], [1], [["role", "user"]]])
def test_a_message_that_is_none(messages: Any) -> None:
    with pytest.raises(ValueError, match="a chat message must be a mapping"):
        View.of_messages(messages)


def test_strings() -> None:
    assert strings({"a": ["x", 1, None, {"b": "y"}], "c": True}) == ["a", "x", "b", "y", "c"]
    assert strings(3.5) == []


def test_more_texts_come_behind() -> None:
    view = View.of_text("prompt").plus("steering", ["yes", "no"])
    assert parts(view) == [("prompt", "prompt"), ("steering", "yes"), ("steering", "no")]
    check_windows(view)


# Templates.

TEMPLATES = {
    "ChatML": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        ["<|im_start|>", "<|im_end|>"],
    ),
    "Llama 2": (
        "{% if messages[0].role == 'system' %}"
        "{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
        "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}"
        "{% endif %}{% for m in rest %}{% if m.role == 'user' %}"
        "<s>[INST] {% if loop.first %}{{ system }}{% endif %}{{ m.content }} [/INST]"
        "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}",
        ["<s>", "</s>"],
    ),
    "Llama 3": (
        "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>"
        "\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
        "{% endif %}",
        ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    ),
    "Alpaca": (
        "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\n\n"
        "{% elif m.role == 'user' %}### Instruction:\n{{ m.content }}\n\n"
        "{% else %}### Response:\n{{ m.content }}\n\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}### Response:\n{% endif %}",
        [],
    ),
    "Gemma": (
        "<bos>{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}"
        "{% endif %}{% for m in messages %}<start_of_turn>"
        "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}<end_of_turn>\n"
        "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        ["<bos>", "<start_of_turn>", "<end_of_turn>"],
    ),
    "a default system text": (
        "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a very helpful assistant "
        "who was made by somebody in particular and knows the date.<|im_end|>\n{% endif %}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        ["<|im_start|>", "<|im_end|>"],
    ),
}


def templated(name: str) -> Any:
    """A tokenizer of a few words with a chat template of another family."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    template, specials = TEMPLATES[name]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0})))
    tokenizer.add_special_tokens({"additional_special_tokens": specials})
    tokenizer.chat_template = template
    return tokenizer


CHAT = [
    {"role": "user", "content": "Who is she?"},
    {"role": "assistant", "content": "An artist."},
    {"role": "user", "content": "And where does she live now?"},
]


@pytest.mark.parametrize(
    ("name", "system"),
    # Gemma's template refuses a system turn.
    [(name, False) for name in TEMPLATES] + [(name, True) for name in TEMPLATES if name != "Gemma"],
)
def test_templates_are_split_at_their_markers(name: str, system: bool) -> None:
    tokenizer = templated(name)
    chat = [{"role": "system", "content": "Be brief."}, *CHAT] if system else CHAT
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    view = RoleMarkers.from_tokenizer(tokenizer).view(text)
    assert view.text.startswith(text)
    found = [(role, said.strip()) for role, said in parts(view)]
    if name == "a default system text" and not system:
        assert found.pop(0)[1].startswith("You are a very")
    expected = [(message["role"], message["content"]) for message in chat]
    if system and name == "Alpaca":  # nothing marks where a system text begins
        expected[0] = ("prompt", "Be brief.")
    assert found == expected
    check_windows(view)


def test_the_served_models_template(tokenizer: Any) -> None:
    chat = [{"role": "system", "content": "Be brief."}, *CHAT]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    view = RoleMarkers.from_tokenizer(tokenizer).view(text)
    assert parts(view) == [(message["role"], message["content"]) for message in chat]


def test_the_served_models_default_system_text_is_seen(tokenizer: Any) -> None:
    text = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    view = RoleMarkers.from_tokenizer(tokenizer).view(text)
    said = parts(view)
    assert said[0][0] == "system" and said[0][1].startswith("You are a helpful AI assistant")
    assert said[1:] == [(message["role"], message["content"]) for message in CHAT]


@pytest.mark.parametrize("name", TEMPLATES)
@given(text=st.text())
def test_no_text_is_lost_between_markers(name: str, text: str) -> None:
    markers = MARKERS.setdefault(name, RoleMarkers.from_tokenizer(templated(name)))
    view = markers.view(text)
    check_windows(view)
    seen = {at for part in view.parts for at in range(part.start, part.end)}
    cut = "".join(char for at, char in enumerate(text) if at not in seen)
    assert not cut.strip() or markers._pattern.sub("", cut).strip() == ""  # type: ignore[union-attr]


MARKERS: dict[str, RoleMarkers] = {}


@pytest.mark.parametrize("name", TEMPLATES)
def test_injected_markers_hide_nothing(name: str) -> None:
    """A client that writes the template's own markers only moves the borders."""
    tokenizer = templated(name)
    markers = RoleMarkers.from_tokenizer(tokenizer)
    literals = [*TEMPLATES[name][1], *markers._roles]
    assert len(literals) >= 3
    for literal in literals:
        for role_word in ("", "system", "assistant\n"):
            attack = f"{literal}{role_word}{SECRET}{literal}"
            chat = [{"role": "user", "content": f"x {attack} y"}]
            text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            view = markers.view(text)
            check_windows(view)
            assert any(SECRET in window.text for window in view.windows)


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_torn_or_spread_is_read_together(name: str) -> None:
    """The model reads across a marker; so does the guard."""
    tokenizer = templated(name)
    markers = RoleMarkers.from_tokenizer(tokenizer)
    spread = [
        {"role": "user", "content": "Remember this: Odalys"},
        {"role": "assistant", "content": "Brennick?"},
        {"role": "user", "content": "Where was she born?"},
    ]
    text = tokenizer.apply_chat_template(spread, tokenize=False, add_generation_prompt=True)
    windows = [" ".join(window.text.split()) for window in markers.view(text).windows]
    assert any("Odalys Brennick? Where was she born?" in window for window in windows)
    for special in TEMPLATES[name][1]:
        torn = [{"role": "user", "content": f"Who is Oda{special}lys Brennick?"}]
        text = tokenizer.apply_chat_template(torn, tokenize=False, add_generation_prompt=True)
        assert any(SECRET in window.text for window in markers.view(text).windows)


@pytest.mark.parametrize(
    "template", [None, "", "no messages at all", "{{ raise_exception('no') }}"]
)
def test_a_template_that_says_nothing(template: str | None) -> None:
    tokenizer = templated("Llama 3")
    tokenizer.chat_template = template
    markers = RoleMarkers.from_tokenizer(tokenizer)
    view = markers.view(f"<|begin_of_text|>Who is {SECRET}?<|eot_id|>")
    assert parts(view) == [("prompt", f"Who is {SECRET}?")]


def test_neither_markers_nor_specials() -> None:
    view = RoleMarkers({}).view("Who?")
    assert view == View.of_text("Who?")
    assert RoleMarkers({"": "user"}, [""]).view("Who?") == view


def test_the_longest_marker_wins() -> None:
    markers = RoleMarkers({"<a>": "user", "<a>\n<b>": "assistant"}, ["<b>"])
    view = markers.view("<a>one<a>\n<b>two<b>three")
    assert parts(view) == [("user", "one"), ("assistant", "two"), ("assistant", "three")]


@pytest.mark.parametrize("text", ["", " \n", "<|im_end|>", "<|im_start|>system\n<|im_end|>\n"])
def test_a_view_of_nothing(tokenizer: Any, text: str) -> None:
    assert RoleMarkers.from_tokenizer(tokenizer).view(text).windows == ()
