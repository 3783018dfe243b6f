"""Where vLLM cannot steer answers, and how it lets a steered one end."""

from typing import Any

from guard.engine import verdict
from guard.engine.compat.prompts import extra_args

GRAMMAR = "vllm.v1.structured_output:StructuredOutputManager.accept_tokens"

RELIED_ON: dict[str, tuple[str, ...]] = {
    GRAMMAR: ("self", "request", "new_token_ids"),
    "vllm.v1.sample.logits_processor.interface:LogitsProcessor.update_state": (
        "self",
        "batch_update",
    ),
    "vllm.v1.sample.logits_processor.interface:LogitsProcessor.apply": ("self", "logits"),
    "vllm.v1.worker.gpu.sample.logits_processor.interface:LogitsProcessor.add_request": (
        "self",
        "req_idx",
        "sampling_params",
    ),
    "vllm.v1.worker.gpu.sample.logits_processor.interface:LogitsProcessor.apply": (
        "self",
        "logits",
        "ctx",
    ),
}


def unsupported_with_steering(vllm_config: Any) -> str | None:
    """Says why an engine cannot steer answers; None where it can."""
    model = vllm_config.model_config
    if vllm_config.speculative_config is not None:
        return "--speculative-config proposes tokens that are not steered; take it away"
    if model.runner_type != "generate":
        return f"--runner {model.runner_type} writes no answers that could be steered"
    if getattr(model, "is_diffusion", False):
        return "a diffusion model does not write token by token, so it cannot be steered"
    if getattr(model, "return_sampling_mask", False):
        return "--return-sampling-mask allows no steering; take it away"
    if str(vllm_config.device_config.device_type) == "tpu":
        return "vLLM does not steer answers on TPUs; use another intervention"
    return None


def accept_tokens(original: Any) -> Any:
    """Lets a steered answer end where a grammar would have it go on.

    A request whose every way on is forbidden is stopped by an end token, which its grammar may
    not know: vLLM would call that an error of its own, and answer with status 500.
    """

    def guarded(self: Any, request: Any, new_token_ids: list[int]) -> bool:
        stopped = request.is_finished() and verdict.PLAN in extra_args(request.sampling_params)
        return stopped or bool(original(self, request, new_token_ids))

    return guarded
