"""Importing is light, and a decision loads only what it needs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from guard.bundle import Bundle
from tests.material import PERSON_WITHOUT_NAME, UNRELATED

HEAVY = ("torch", "transformers", "sentence_transformers", "vllm", "faiss", "sklearn", "numpy")


def loaded(code: str, *args: str) -> set[str]:
    """Which heavy modules a fresh process has loaded after running some code."""
    ask = f"\nimport sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code + ask, *args], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_guard_is_light() -> None:
    assert loaded("import guard; guard.__version__; guard.__all__") == set()


@pytest.mark.parametrize(
    "code",
    [
        "from guard import Guard, Decision, GuardError",
        "import guard.cli, guard.policy, guard.bundle, guard.compile, guard.view, guard.embeddings",
        "from guard.detectors import DETECTORS; [DETECTORS.get(k) for k in DETECTORS.kinds()]",
        "from guard.interventions import INTERVENTIONS as I; [I.get(k) for k in I.kinds()]",
        "from guard.output import CHECKS; [CHECKS.get(kind) for kind in CHECKS.kinds()]",
        "import guard.checking, guard.output.outputs, guard.output.finished",
        "import guard.engine.plugin",
        "import guard.engine.mediator, guard.engine.worker, guard.engine.settings",
        "import guard.server.probe, guard.server.gate",
        "import guard.recorder, guard.logs, guard.spans",
        "import guard.audit.verify, guard.audit.export, guard.audit.changes, guard.audit.command",
        "import guard.proxy.start, guard.proxy.app, guard.client",
        "import guard.admin.start, guard.admin.app",
    ],
)
def test_importing_loads_no_model_library(code: str) -> None:
    assert loaded(code) <= {"numpy"}


CHECK = "import sys; from guard.cli import main; assert main(sys.argv[1:]) == 0"


def test_a_name_is_decided_without_an_encoder(bundle: Bundle) -> None:
    """Where every target is settled by its name, or has nothing but names."""
    arguments = ("check", "--bundle", str(bundle.path), "--json")
    text = "Odalys Brennick, The Lantern of Vessmere, Tidewater Compact"
    assert loaded(CHECK, *arguments, text) <= {"numpy"}


@pytest.mark.parametrize("text", UNRELATED[:2])
def test_an_everyday_text_is_decided_without_an_encoder(bundle: Bundle, text: str) -> None:
    """A glance at its words dismisses it."""
    assert loaded(CHECK, "check", "--bundle", str(bundle.path), text) <= {"numpy"}


def test_a_doubtful_text_loads_the_encoder_and_never_vllm(bundle: Bundle) -> None:
    found = loaded(CHECK, "check", "--bundle", str(bundle.path), PERSON_WITHOUT_NAME[0])
    assert "sentence_transformers" in found
    assert "vllm" not in found


@pytest.mark.parametrize("command", ["--help", "--version", "compile --help", "models"])
def test_the_command_answers_at_once(command: str) -> None:
    code = (
        "import sys\nfrom guard.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as e: assert not e.code"
    )
    assert loaded(code, *command.split()) <= {"numpy"}


def test_an_unknown_attribute_is_one() -> None:
    import guard

    with pytest.raises(AttributeError, match="module 'guard' has no attribute 'Gard'"):
        guard.Gard  # noqa: B018
    assert Path(guard.__file__).name == "__init__.py"


def test_deciding_loads_neither_metrics_nor_web_frameworks(bundle: Bundle) -> None:
    code = CHECK + "; assert not {'prometheus_client', 'fastapi', 'httpx'} & sys.modules.keys()"
    loaded(code, "check", "--bundle", str(bundle.path), "Who is Odalys Brennick?")
