"""A base model that no GPU holds whole: its weights are spread over the processes of a training.

Each process keeps a part of every weight (FSDP2, ``torch.distributed.fsdp.fully_shard``); a layer's
weights are put together where it computes, and let go again. The adapter is small and stays whole
in each process, as without: what averages its gradients, saves it and takes it up again need not
know. Collective as the passes are now, all processes have to make the same ones.
"""

from typing import TYPE_CHECKING, Any

from adapters.settings import Settings
from adapters.step import layers_of
from guard.errors import ModelError

if TYPE_CHECKING:
    import torch


def is_spread(settings: Settings, accelerator: Any) -> bool:
    """Whether a training's base model is spread.

    Args:
        settings: Of the training.
        accelerator: An `accelerate.Accelerator`; its launcher may want it as well.
    """
    asked: bool = settings.spread or accelerator.distributed_type == "FSDP"
    return asked and int(accelerator.num_processes) > 1


def spread(model: Any, device: "torch.device", processes: int) -> Any:
    """Spreads the frozen weights of a PEFT model over all processes, in place.

    It goes layer by layer, so that a GPU never holds more than its part and one layer.

    Args:
        model: A `peft.PeftModel` in the main memory; what requires a gradient stays whole.
        device: Where this process computes.
        processes: How many there are.

    Returns:
        The model.

    Raises:
        ModelError: It is no PEFT model.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if not hasattr(model, "get_base_model"):
        raise ModelError(
            "spread: is for the model beneath a LoRA alone; train without it, and without FSDP"
        )
    if isinstance(model, FSDPModule):
        return model
    whole = {parameter for parameter in model.parameters() if parameter.requires_grad}
    whole |= {p for name, p in model.named_parameters() if "lora_" in name}  # beneath another
    mesh = init_device_mesh(device.type, (processes,))
    for layer in layers_of(model.get_base_model()):
        fully_shard(layer, mesh=mesh, ignored_params=whole)
    # Embeddings and head; not even between a pass and the next are they kept whole.
    fully_shard(model, mesh=mesh, ignored_params=whole, reshard_after_forward=True)
    for parameter in whole:
        parameter.data = parameter.data.to(device)
    return model
