"""What the bodies of several schemas have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from guard.forbidden import bad_words
from guard.proxy.counting import Counter
from guard.proxy.enforcement import Edit, Instruction
from guard.proxy.fields import MOST_BAD_WORDS, names, text_list
from guard.proxy.message import Refused
from guard.proxy.texts import Texts, grammar

SAMPLING = names(
    """frequency_penalty ignore_eos include_stop_str_in_output length_penalty
        max_completion_tokens max_tokens min_p min_tokens n parallel_tool_calls
        presence_penalty priority repetition_detection repetition_penalty seed
        skip_special_tokens spaces_between_special_tokens stop_token_ids store
        stream stream_interval stream_options temperature thinking_token_budget
        top_k top_p watermarking include_reasoning add_special_tokens"""
)
LABELS = names(
    """metadata model prompt_cache_key prompt_cache_retention safety_identifier
        service_tier session_id user cache_salt"""
)
MOST_BANNED = 128  # of bad_words that vLLM takes
MOST_BIASED = 256
_BANNED = -100  # the least logit_bias
_LEAST = 4  # letters of a token that tells a word of several
DROPPED = frozenset({"request_id"})
GRAMMARS = (
    "response_format",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "guided_decoding_backend",
    "guided_whitespace_pattern",
    "structural_tag",
)
STEERING = frozenset({*GRAMMARS, "logit_bias", "allowed_token_ids", "bad_words", "stop"})

_UNREAD = "what it brings cannot be read by this server's guard; leave it out"
_TELLS = "this server does not tell how prompts are read; leave it out"
_CUTS = "this server reads and serves prompts whole; shorten yours, and leave it out"
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        names(
            """prompt_embeds mm_processor_kwargs media_io_kwargs mm_payload
            kv_transfer_params ec_transfer_params vllm_xargs lora lora_request adapter
            chat_template audio modalities web_search_options moderation container
            mcp_servers"""
        ),
        _UNREAD,
    ),
    **dict.fromkeys(
        names(
            """echo prompt_logprobs logprob_token_ids return_token_ids
            return_tokens_as_token_ids return_prompt_text return_token_offsets
            return_mm_kwargs routed_experts_prompt_start enable_response_messages"""
        ),
        _TELLS,
    ),
    "truncate_prompt_tokens": _CUTS,
    "truncation_side": _CUTS,
    "use_beam_search": "beam search is not available on this server; leave it out",
}


def read_steering(texts: Texts, body: Mapping[str, Any], counter: Counter) -> None:
    """Adds what of a body steers its answers.

    Raises:
        Refused: It cannot be read.
    """
    for name in GRAMMARS:
        if (value := body.get(name)) is not None:
            if name in ("guided_regex", "guided_grammar") and isinstance(value, str):
                texts.pattern(value)
            else:
                grammar(texts, value, name)
    for name in ("stop", "stop_sequences"):
        texts.note("stop", text_list(body, name, 64))
    text_list(body, "bad_words", MOST_BAD_WORDS)
    ids: list[Any] = list(_of_type(body, "allowed_token_ids", list) or [])
    for token, bias in (_of_type(body, "logit_bias", dict) or {}).items():
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not token.isdecimal():
            raise Refused("logit_bias: give token ids and numbers", param="logit_bias")
        ids += [int(token)] if bias > 0 else []
    if not all(isinstance(token, int) for token in ids):
        raise Refused("allowed_token_ids: give token ids", param="allowed_token_ids")
    if ids:
        name = "allowed_token_ids" if body.get("allowed_token_ids") else "logit_bias"
        said = counter.read(ids)
        if said is None:
            raise Refused(f"{name}: tokens cannot be asked for on this server", param=name)
        texts.steer(said)


def read_kwargs(texts: Texts, body: Mapping[str, Any]) -> None:
    """Adds what a client hands to the chat template.

    Raises:
        Refused: It brings a template of its own.
    """
    kwargs = _of_type(body, "chat_template_kwargs", dict) or {}
    for name in ("chat_template", "template", "messages", "conversation", "truncation"):
        if name in kwargs:
            raise Refused(
                f"chat_template_kwargs: {name!r} cannot be sent to this server",
                param="chat_template_kwargs",
            )
    texts.note("tools", kwargs)


def with_bad_words(body: dict[str, Any], edit: Edit, counter: Counter) -> dict[str, Any]:
    """Puts what must not be said in front of what the client has banned."""
    if not edit.bad_words:
        return body
    client = text_list(body, "bad_words", MOST_BAD_WORDS)
    banned = {**body, "bad_words": list(dict.fromkeys([*edit.bad_words, *client]))}
    return _with_biases(banned, edit.bad_words, counter)


def _with_biases(body: dict[str, Any], words: Sequence[str], counter: Counter) -> dict[str, Any]:
    """Bans what vLLM's ``bad_words`` let pass, where the tokenizer is at hand.

    vLLM bans a word as it stands behind a space only where that makes as many tokens as the bare
    word ("playwright" makes two, " playwright" one: it goes on saying it).
    """
    banned = [_telling(counter, word) for word in words]
    tokens = list(dict.fromkeys(token for token in banned if token is not None))[:MOST_BIASED]
    if not tokens:
        return body
    held = body.get("logit_bias") or {}
    return {**body, "logit_bias": {**held, **{str(token): _BANNED for token in tokens}}}


def _telling(counter: Counter, word: str) -> int | None:
    """The token to be banned of a word behind a space; None where there need be none.

    It is the longest, the one that other words are the least likely to have.
    """
    spaced = counter.tokens(f" {word}")
    if not spaced or len(spaced) == len(counter.tokens(word)):
        return None
    said = {token: (counter.read([token]) or "").strip() for token in spaced}
    longest = max(spaced, key=lambda token: len(said[token]))
    return longest if len(spaced) == 1 or len(said[longest]) >= _LEAST else None


def can_go_on(body: Mapping[str, Any]) -> bool:
    """Whether an answer may be gone on with: one text, whose beginning no grammar has to know."""
    return body.get("n") in (None, 1) and not any(body.get(name) for name in (*GRAMMARS, "suffix"))


def going_on(
    body: dict[str, Any], left: str, phrases: Sequence[str], counter: Counter
) -> dict[str, Any]:
    """A body that asks for the rest of an answer, without what must not be said in it."""
    banned = bad_words(phrases, MOST_BANNED // 2)
    held = [*dict.fromkeys([*banned, *(body.get("bad_words") or ())])]
    found = _with_biases({**body, "bad_words": held[:MOST_BANNED]}, banned, counter)
    said = counter.count(left)
    for name, least in (("max_tokens", 1), ("max_completion_tokens", 1), ("min_tokens", 0)):
        if isinstance(body.get(name), int):
            found[name] = max(body[name] - said, least)
    return found


def in_front(content: Any, text: str, kind: str = "text") -> Any:
    """A message's content with a text before it."""
    if isinstance(content, list):
        return [{"type": kind, "text": f"{text}\n\n"}, *content]
    return f"{text}\n\n{content or ''}"


def behind(content: Any, text: str, kind: str = "text") -> Any:
    """A message's content with a text behind it."""
    if isinstance(content, list):
        return [*content, {"type": kind, "text": f"\n\n{text}"}]
    return f"{content or ''}\n\n{text}"


def instructed(
    messages: Sequence[dict[str, Any]], instructions: Sequence[Instruction], kind: str = "text"
) -> list[dict[str, Any]]:
    """Messages with instructions: at the end of the system text, or before the last question."""
    found = list(messages)
    for one in reversed(instructions):  # each goes to the front: the first comes to stand first
        system = [n for n, said in enumerate(found) if said.get("role") in ("system", "developer")]
        asked = [n for n, said in enumerate(found) if said.get("role") == "user"]
        if one.where == "system" and system:
            at, put = system[0], behind
        elif asked:
            at, put = asked[-1], in_front
        else:
            found.insert(0, {"role": "system", "content": one.text})
            continue
        found[at] = {**found[at], "content": put(found[at].get("content"), one.text, kind)}
    return found


def added_text(edit: Edit) -> str:
    """What an edit puts into a prompt, to be counted."""
    return "".join(f"{one.text}\n\n" for one in edit.instructions)


def _of_type(body: Mapping[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise Refused(f"{name}: not of its type", param=name)
    return value
