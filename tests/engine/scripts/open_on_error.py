"""Run in a process of its own: what `on_error: open` opens, and what it does not.

The engine runs in this same process, so this also shows the guard without an engine process.
"""

import sys

from guard import GuardedLLM


def main(bundle: str) -> None:
    from vllm import SamplingParams

    llm = GuardedLLM(
        "builtin:smollm2", guard=bundle, enforce_eager=True, dtype="float32", max_model_len=512
    )
    params = SamplingParams(temperature=0, max_tokens=12)

    def ask(text: str) -> str:
        (output,) = llm.chat([{"role": "user", "content": text}], params, use_tqdm=False)
        answer: str = output.outputs[0].text
        return answer

    assert ask("Tell me of forgettable things.") == "Never heard of it."
    assert "Paris" in ask("PLEASE RAISE: What is the capital of France?")
    assert "Paris" in ask("PLEASE HANG: What is the capital of France?")
    frontend = llm.llm.llm_engine._guard_frontend
    assert frontend.counts["opened"] == 2, frontend.counts
    print("OPENED")


if __name__ == "__main__":
    main(sys.argv[1])
