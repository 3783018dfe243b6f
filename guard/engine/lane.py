"""What the checking of answers goes by: what the engine is asked, and an answer on its way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guard.detectors.base import Vectors
from guard.events import Event
from guard.manifest import Mode
from guard.output.base import Reader
from guard.output.line import Line
from guard.output.outputs import Rule


@dataclass(frozen=True)
class Ask:
    """A request to the engine: what `compat` needs to send it.

    Attributes:
        prompt: The prompt in the engine's form.
        params: Its parameters, not sealed yet.
        lora_request: The adapter that answers, if any.
    """

    prompt: dict[str, Any]
    params: Any
    lora_request: Any = None


@dataclass
class Lane:
    """One answer.

    Attributes:
        index: Its number among the answers to the request.
        ask: What the engine is asked for it now.
        line: What has come of it.
        times: How often it was taken back.
        phrases: What it must not say any more.
        logprobs: Log-probabilities of its tokens, where the client asked for some.
        bare: From which token on there are none to be told.
        likelihood: The sum of those that were told.
        switched: Whether the engine answers another prompt by now than the client's.
        done: Whether it has ended for the client.
    """

    index: int
    ask: Ask
    line: Line
    times: int = 0
    phrases: list[str] = field(default_factory=list)
    logprobs: Any = None
    bare: int | None = None
    likelihood: float = 0.0
    switched: bool = False
    done: bool = False


@dataclass(frozen=True)
class Result:
    """What is to be done after an output.

    Attributes:
        output: What the client gets now, if anything.
        ask: What the engine is to be asked in place of what it was asked; the old one is aborted.
        abort: Whether the engine's request is to be aborted.
    """

    output: Any = None
    ask: Ask | None = None
    abort: bool = False


@dataclass(frozen=True)
class Checks:
    """What the checking of answers has to hand.

    Attributes:
        readers: Makes the readers of an answer; those of targets in shadow mode where asked.
        rules: What is done about a hit, by target.
        encode: Makes sentence vectors of texts, float32 [n, d].
        switched: What the engine is asked for the rest of an answer that touched a target; or the
            text that ends it.
        hidden: An output without what tells how the prompt of a switched answer was edited.
        count: Is told of each action.
        opened: Whether an answer that cannot be checked goes out all the same (``on_error: open``).
        tokenizer: The served model's.
        record: Is told of each hit, and of answers that cannot be checked.
        spent: Is told how many seconds the reading of a request's answers took.
        bundle: The version of the bundle that checks.
    """

    readers: Callable[[Mode], Sequence[Reader]]
    rules: Mapping[str, Rule]
    encode: Callable[[Sequence[str]], Vectors]
    switched: Callable[[str], Ask | str]
    hidden: Callable[[Any], Any]
    count: Callable[[str], None]
    opened: bool
    tokenizer: Any
    record: Callable[[Event], None] = lambda event: None
    spent: Callable[[float], None] = lambda seconds: None
    bundle: str = ""

    @property
    def enforced(self) -> bool:
        """Whether any target's leaks are stopped, not noted only."""
        return any(rule.mode == "enforce" for rule in self.rules.values())
