"""What vLLM's LoRA needs, and where its CPU kernels have to be kept from harm."""

from collections.abc import Iterable
from typing import Any, get_args

from guard.engine.compat.prompts import adapter_request
from guard.errors import EngineError
from guard.interventions.base import Adapter

# What is wrapped, called or overridden, and the parameters that are relied on.
_CPU = "vllm.lora.punica_wrapper.punica_cpu:PunicaWrapperCPU"
_MANAGER = "vllm.lora.model_manager:LoRAModelManager"
RELIED_ON: dict[str, tuple[str, ...]] = {
    "vllm.v1.engine.async_llm:AsyncLLM.add_lora": ("self", "lora_request"),
    "vllm.v1.engine.llm_engine:LLMEngine.add_lora": ("self", "lora_request"),
    f"{_MANAGER}._init_punica_wrapper": ("self", "max_num_batched_tokens", "vllm_config"),
    f"{_CPU}.update_metadata": ("self", "mapping"),
    f"{_CPU}.add_lora_linear": ("self", "y", "x"),
    f"{_CPU}._apply_shrink": ("self", "y", "x", "w_t_all", "scale"),
    f"{_CPU}._apply_expand": ("self", "y", "x", "w_t_all", "y_offset", "y_slice_size"),
    f"{_CPU}.add_lora_embedding": ("self", "y", "x", "lora_b_stacked", "add_inputs"),
    f"{_CPU}.add_lora_logits": ("self", "y", "x", "lora_a_stacked", "lora_b_stacked", "scale"),
}


def lora_rank(rank: int) -> int:
    """Returns the least ``max_lora_rank`` that vLLM takes and that holds a rank.

    Raises:
        EngineError: There is none.
    """
    from vllm.config.lora import MaxLoRARanks

    allowed = sorted(get_args(MaxLoRARanks))
    for one in allowed:
        if one >= rank:
            return int(one)
    raise EngineError(f"an adapter has rank {rank}; vLLM serves up to {allowed[-1]}")


def keep_plain_rows(kernels: Iterable[Any]) -> None:
    """Has LoRA kernels for CPUs leave the rows of requests without an adapter as they are.

    Args:
        kernels: What a model's layers multiply adapters with; others than those stay as they are.
    """
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    from guard.engine.compat.lora_cpu import PlainRowsKept

    for kernel in kernels:
        if type(kernel) is PunicaWrapperCPU:
            kernel.__class__ = PlainRowsKept


def mixes_rows(vllm_config: Any) -> bool:
    """Whether an engine that `keep_plain_rows` did not reach lets adapters reach other requests."""
    return str(vllm_config.device_config.device_type) == "cpu"


async def load_adapters(engine: Any, adapters: Iterable[Adapter]) -> None:
    """Has an engine load adapters once: one that it cannot load would end it when first needed.

    Raises:
        EngineError: It cannot.
    """
    for adapter in adapters:
        try:
            await engine.add_lora(adapter_request(adapter))
        except Exception as error:
            raise _not_loaded(adapter, error) from None


def load_adapters_sync(engine: Any, adapters: Iterable[Adapter]) -> None:
    """The same for a synchronous engine."""
    for adapter in adapters:
        try:
            engine.add_lora(adapter_request(adapter))
        except Exception as error:
            raise _not_loaded(adapter, error) from None


def _not_loaded(adapter: Adapter, error: Exception) -> EngineError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return EngineError(f"vLLM cannot load the adapter in {adapter.folder}: {reason}")
