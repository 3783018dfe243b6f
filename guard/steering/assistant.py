"""A small model that reads along beside the served one, with a KV state of its own per request."""

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.errors import InterventionError, ModelError
from guard.identity import identify
from guard.steering.together import Batch, alone

if TYPE_CHECKING:
    import torch

_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_PIECE = 512  # tokens that are read at once: a long prompt must not need a model's worth of memory


def identity(folder: str, adapter: str | None = None) -> str:
    """Hashes what an assistant is made of; hex sha256.

    Args:
        folder: Its model folder.
        adapter: The PEFT folder of a LoRA on top of it.

    Raises:
        ModelError: A folder or a file of it is missing.
    """
    if not Path(folder).is_dir():
        raise ModelError(f"{folder}: no such model folder")
    known = identify(Path(folder))
    if adapter is None:
        return known
    digest = hashlib.sha256(known.encode())
    for name in _ADAPTER:
        try:
            with (Path(adapter) / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise ModelError(
                f"{Path(adapter) / name}: {error.strerror}; give a PEFT folder with a LoRA saved "
                "as safetensors"
            ) from None
    return digest.hexdigest()


class Assistant:
    """A causal language model: float32 on a CPU, its checkpoint's own type elsewhere.

    Only safetensors are read, and only architectures that transformers itself knows.

    Args:
        folder: Its model folder, with its tokenizer.
        adapter: The PEFT folder of a LoRA that is merged into it.
        device: Where it runs, as torch names it.

    Attributes:
        size: How many tokens it knows.
        limit: How many tokens it can read; None where there is no limit.
        read: How many it has read, over all requests.
        passes: How often it was run for them: what it has cost.
        together: Whether it can read on in several texts at once.

    Raises:
        ModelError: It cannot be loaded, or not be run token by token.
    """

    def __init__(self, folder: str, adapter: str | None = None, device: str = "cpu") -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        if not any(Path(folder).glob("*.safetensors")):
            raise ModelError(f"{folder}: has no safetensors weights; save the assistant with them")
        kind = torch.float32 if torch.device(device).type == "cpu" else "auto"
        trusted: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        disable_progress_bar()
        try:
            model, found = AutoModelForCausalLM.from_pretrained(
                folder, dtype=kind, use_safetensors=True, output_loading_info=True, **trusted
            )
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, **trusted)
        except Exception as error:  # libraries raise whatever they like for a folder that is odd
            raise ModelError(
                f"{folder}: cannot be loaded as an assistant: {_line(error)}"
            ) from None
        if absent := [*found["missing_keys"], *(key[0] for key in found["mismatched_keys"])]:
            raise ModelError(
                f"{folder}: its weights do not fit its config.json "
                f"({len(absent)} are missing or of another shape, such as {min(absent)})"
            )
        if model._is_stateful:
            raise ModelError(
                f"{folder}: a {model.config.model_type} model cannot go back in what it has read; "
                "use an assistant whose layers all attend"
            )
        if adapter is not None:
            model = _merged(model, adapter)
        self._model: Any = model.eval().requires_grad_(False).to(device)
        self._device = device
        named = inspect.signature(self._model.forward).parameters
        self._last: dict[str, int] = {"logits_to_keep": 1} if "logits_to_keep" in named else {}
        self.size: int = self._model.get_input_embeddings().weight.shape[0]
        text = self._model.config.get_text_config()
        self.limit: int | None = getattr(text, "max_position_embeddings", None)
        # Positions have to be told where a text is padded; and where what a token is turned into
        # depends on the longest text, that is another request's doing.
        self.together = {"attention_mask", "position_ids"} <= named.keys() and not any(
            kind == "longrope" or "dynamic" in kind for kind in _rope_types(text)
        )
        self.read = self.passes = 0

    def forward(self, tokens: Sequence[int], state: Any) -> "torch.Tensor":
        """Reads tokens behind those of a state, which takes them in; logits after the last."""
        import torch

        with torch.inference_mode():
            for start in range(0, len(tokens), _PIECE):
                piece = torch.tensor([list(tokens[start : start + _PIECE])], device=self._device)
                made = self._model(piece, past_key_values=state, use_cache=True, **self._last)
                self.read += piece.shape[1]
                self.passes += 1
            logits: torch.Tensor = made.logits[0, -1].float()
        return logits

    def forward_each(self, tokens: Sequence[int], batch: Batch) -> "torch.Tensor":
        """Reads a token more in each of several texts; logits after them, float32 [n, size]."""
        import torch

        with torch.inference_mode():
            made = self._model(
                **batch.reading(tokens), past_key_values=batch.cache, use_cache=True, **self._last
            )
            self.read += len(tokens)
            self.passes += 1
            logits: torch.Tensor = made.logits[:, -1].float()
        return logits


class Reader:
    """One request's reading of an assistant.

    What it returns follows from the tokens that it is given (up to the rounding of floats, which
    depends on how many are read at once); what it remembers only saves reading them again.

    Args:
        assistant: The model that reads.
    """

    def __init__(self, assistant: Assistant) -> None:
        self.assistant = assistant
        self.state: Any = None  # of what it has seen: a `DynamicCache`, or a place in a batch
        self._seen: list[int] = []
        self._logits: torch.Tensor | None = None

    def __call__(self, tokens: Sequence[int]) -> "torch.Tensor":
        """Returns the logits of the token that follows, float32 [size].

        Args:
            tokens: All that stands before it, at least one token.

        Raises:
            InterventionError: There is nothing to read, or a token that the assistant has not.
        """
        from transformers import DynamicCache

        tokens = list(tokens)
        if not self._readable(tokens):
            raise InterventionError("the assistant cannot read this text: a token is not its own")
        if tokens == self._seen and self._logits is not None:
            return self._logits
        kept = min(_common(self._seen, tokens), len(tokens) - 1)
        state, surplus = alone(self.state) if kept else None, len(self._seen) - kept
        self.forget()  # should reading fail, nothing is taken for read
        if state is None:
            state = DynamicCache()  # whole layers, so that any of it can be taken back
        elif surplus:
            state.crop(-surplus)
        logits = self.assistant.forward(tokens[kept:], state)
        self.take(tokens, state, logits)
        return logits

    def goes_on(self, tokens: Sequence[int]) -> bool:
        """Whether a text is what it has seen, and one token more."""
        seen = len(self._seen)
        return (
            len(tokens) == seen + 1 > 1 and self._seen == [*tokens[:-1]] and self._readable(tokens)
        )

    def take(self, tokens: Sequence[int], state: Any, logits: "torch.Tensor") -> None:
        """Remembers what was read, and what it has led to."""
        self._seen, self.state, self._logits = list(tokens), state, logits

    def forget(self) -> None:
        """Takes nothing for read."""
        self._seen, self.state, self._logits = [], None, None

    def _readable(self, tokens: Sequence[int]) -> bool:
        return len(tokens) > 0 and min(tokens) >= 0 and max(tokens) < self.assistant.size


@cache
def shared(folder: str, adapter: str | None, sha256: str, device: str) -> Assistant:
    """Returns an assistant that all requests of this process share, loaded once.

    Raises:
        ModelError: It cannot be loaded, or is not the one that the bundle was made with.
    """
    check(folder, adapter, sha256)
    return Assistant(folder, adapter, device)


def check(folder: str, adapter: str | None, sha256: str) -> None:
    """Refuses an assistant that is not what it was.

    Raises:
        ModelError: It has changed since the bundle was compiled, or is gone.
    """
    if identity(folder, adapter) != sha256:
        raise ModelError(
            f"{adapter or folder}: is not the assistant that the bundle was compiled with; "
            "restore it, or run `guard compile` again"
        )


def _merged(model: Any, adapter: str) -> Any:
    from peft import PeftConfig, PeftModel

    if not all((Path(adapter) / name).is_file() for name in _ADAPTER):
        raise ModelError(f"{adapter}: not a PEFT folder with {' and '.join(_ADAPTER)}")
    try:
        config = PeftConfig.from_pretrained(adapter)
        if config.peft_type != "LORA":
            raise ModelError(f"{adapter}: is a {config.peft_type} adapter; only LoRA is merged")
        config.inference_mode = True
        both = PeftModel(model, config)
        result = both.load_adapter(adapter, "default", torch_device=str(model.device))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{adapter}: does not fit the assistant: {_line(error)}") from None
    if strange := [*result.missing_keys, *result.unexpected_keys]:
        raise ModelError(f"{adapter}: does not fit the assistant: {min(strange)}")
    return both.merge_and_unload()


def _rope_types(config: Any) -> Iterator[str]:
    """How a model turns its positions into rotations; one kind, or one for each kind of layer."""
    told = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    for one in (told, *told.values()):
        if isinstance(one, dict):
            yield str(one.get("rope_type") or one.get("type") or "")


def _common(one: list[int], two: list[int]) -> int:
    """How many tokens two lists begin with in common."""
    shorter = min(len(one), len(two))
    if one[:shorter] == two[:shorter]:
        return shorter
    return next(n for n in range(shorter) if one[n] != two[n])


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
