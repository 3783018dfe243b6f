"""What a model says where answers stand: the forward passes of a training step."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from adapters.batches import IGNORED
from adapters.objectives.base import Answers, Batch
from adapters.picking import hooked, picked_logits

if TYPE_CHECKING:
    import torch

REINFORCED = "reinforced"  # the name of an objective's second adapter

Reference = dict[tuple[str, int], float]


class Passes:
    """Forward passes of a PEFT model, which is trained between them.

    Args:
        model: A `peft.PeftModel`.
        narrow: Whether arithmetic is in bfloat16.
        checkpointing: Whether layers are computed again for the gradient.
        remember: Whether what was said before training is asked once of each row.

    Attributes:
        device: Where the model is.
        layers: The decoder layers.
        last: The last of them (from 0) that the adapter changes.
        tokens: How many tokens were passed with a gradient so far, padding left out.
        remember: As given.
        known: What `reference_nll` has found, by split and row.
    """

    remember: bool = True

    def __init__(
        self,
        model: Any,
        *,
        narrow: bool = False,
        checkpointing: bool = False,
        remember: bool = True,
    ) -> None:
        base = model.get_base_model()
        self.model = model
        self.remember = remember
        self._narrow = narrow
        self._decoder = getattr(base, base.base_model_prefix)
        self.device = base.device
        self.layers = layers_of(base)
        self.last = _last(self.layers)
        self.tokens = 0
        self.known: Reference = {}
        self._checkpointing = checkpointing
        if checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
        self.train()

    def train(self) -> None:
        """Lets the adapter drop what it is to drop; the base model, which is frozen, never does."""
        from torch import nn

        self.model.eval()
        for name, module in self.model.named_modules():
            if "lora_dropout" in name and isinstance(module, nn.Dropout):
                module.train()
        if self._checkpointing:  # which layers look up in themselves alone
            for layer in self.layers:
                layer.training = True

    def answers(self, batch: Batch, layers: dict[int, "torch.Tensor"] | None = None) -> Answers:
        """Passes a batch with its gradient.

        Args:
            batch: Rows.
            layers: Is given the hidden states after each layer, [n, t, d].
        """
        self.tokens += int(getattr(batch, "tokens", 0))
        wanted = range(len(self.layers)) if layers is not None else ()
        return self._pass(batch, dict.fromkeys(wanted), layers)

    def now(self, batch: Batch) -> Answers:
        """What the model says as it is; for measuring, and not counted as training."""
        return self._pass(batch, {}, None)

    def before(self, batch: Batch) -> Answers:
        """The same with the adapter off, without gradient."""
        import torch

        with torch.no_grad(), self.model.disable_adapter():
            return self._pass(batch, {}, None)

    def reinforced(self, batch: Batch) -> Answers:
        """The same with the adapter named `REINFORCED`."""
        import torch

        own = self.model.active_adapter
        self.model.set_adapter(REINFORCED)
        try:
            with torch.no_grad():
                return self._pass(batch, {}, None)
        finally:
            self.model.set_adapter(own)

    def states_before(self, batch: Batch, layer: int) -> "torch.Tensor":
        """Hidden states after a layer with the adapter off, without gradient."""
        import torch

        found: dict[int, torch.Tensor] = {}
        with torch.no_grad(), self.model.disable_adapter():
            self._pass(batch, {layer: None}, found)
        return found[layer]

    def _pass(
        self, batch: Batch, wanted: Mapping[int, None], found: dict[int, "torch.Tensor"] | None
    ) -> Answers:
        length = batch.input_ids.shape[1]
        where = (batch.labels[:, 1:] != IGNORED).nonzero()  # the token before each that counts
        with ExitStack() as hooks:
            for number in wanted:
                assert found is not None
                hooks.enter_context(
                    hooked(self.layers[number], _keep(found, number, length), change=False)
                )
            logits = picked_logits(
                self.model,
                self._decoder,
                (batch.input_ids, batch.attention_mask),
                where,
                narrow=self._narrow,
            )
        labels = batch.labels[:, 1:][where[:, 0], where[:, 1]]
        return Answers(logits, labels, where[:, 0])


class ModelStep:
    """One step of training; see `adapters.objectives.base.Step`.

    What is asked for twice is computed once.
    """

    def __init__(
        self,
        passes: Passes,
        forget: Batch,
        retain: Batch | None,
        alternative: Batch | None,
        random: "torch.Generator",
        done: float,
    ) -> None:
        self.forget = forget
        self.retain = retain
        self.alternative = alternative
        self.random = random
        self.done = done
        self.layer = passes.last
        self._passes = passes
        # By identity: a batch is held by its key's entry, so that no other can take its place.
        self._now: dict[int, tuple[Batch, Answers, dict[int, torch.Tensor]]] = {}
        self._before: dict[int, tuple[Batch, Answers]] = {}

    def answers(self, batch: Batch) -> Answers:
        return self._passed(batch)[1]

    def states(self, batch: Batch, layer: int) -> "torch.Tensor":
        return self._passed(batch)[2][layer]

    def reference(self, batch: Batch) -> Answers:
        if id(batch) not in self._before:
            self._before[id(batch)] = batch, self._passes.before(batch)
        return self._before[id(batch)][1]

    def reference_nll(self, batch: Batch) -> "torch.Tensor":
        import torch

        split, rows = getattr(batch, "split", ""), getattr(batch, "rows", ())
        keys = [(split, row) for row in rows] if self._passes.remember else []
        known = self._passes.known
        if not keys or not all(key in known for key in keys):
            answers = self.reference(batch)
            found = answers.total(answers.nll)
            if not keys:
                return found
            # A row is remembered as it was first found: batches differ in their last digits.
            for key, value in zip(keys, found.tolist(), strict=True):
                known.setdefault(key, value)
        return torch.tensor([known[key] for key in keys], device=batch.input_ids.device)

    def reinforced(self, batch: Batch) -> Answers:
        return self._passes.reinforced(batch)

    def reference_states(self, batch: Batch, layer: int) -> "torch.Tensor":
        return self._passes.states_before(batch, layer)

    def _passed(self, batch: Batch) -> tuple[Batch, Answers, dict[int, "torch.Tensor"]]:
        if id(batch) not in self._now:
            layers: dict[int, torch.Tensor] = {}
            self._now[id(batch)] = batch, self._passes.answers(batch, layers), layers
        return self._now[id(batch)]


def _keep(found: dict[int, "torch.Tensor"], number: int, length: int) -> Any:
    def keep(output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        found[number] = states[:, states.shape[1] - length :]

    return keep


def layers_of(model: Any) -> list[Any]:
    """The decoder layers of a causal language model, in order, whatever they are called."""
    from torch import nn

    decoder = getattr(model, model.base_model_prefix)
    count = getattr(model.config.get_text_config(), "num_hidden_layers", 0)
    lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList)]
    fitting = [module for module in lists if len(module) == count]
    return list(max(fitting or lists, key=len, default=()))


def _last(layers: Sequence[Any]) -> int:
    changed = [
        number
        for number, layer in enumerate(layers)
        if any(hasattr(module, "lora_A") for module in layer.modules())
    ]
    return max(changed, default=len(layers) - 1)  # soft prompts change them all
