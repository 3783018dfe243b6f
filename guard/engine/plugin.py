"""What vLLM loads, in each of its processes (entry point ``vllm.general_plugins``).

vLLM only logs a plugin whose import fails and goes on without it, so nothing is imported here
that could fail; an error inside `register` ends the process, and is meant to.
"""


def register() -> None:
    """Installs the guard; inert where nothing configures it.

    Raises:
        EngineError: The guard is configured, but this vLLM is not one that it was tested with.
    """
    import logging

    from guard.engine import compat, hooks, settings
    from guard.errors import EngineError

    try:
        compat.check()
    except EngineError as error:
        if settings.from_environment() is not None:
            raise
        logging.getLogger("vllm.guard").warning("guard: cannot guard this engine: %s", error)
        hooks.install_refusal(str(error))
        return
    hooks.install()
