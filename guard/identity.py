"""Which model is this? A hash of the files that say what a model is.

Weights are known by each file's name, size, header (the safetensors table of names, types and
offsets) and samples of its content, so that a model of a hundred gigabytes is identified in
milliseconds; the configuration, the tokenizer and its chat template are hashed in full, because
the guard reads prompts through them.
"""

import hashlib
from pathlib import Path

from guard.errors import ModelError

_WHOLE = (
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "chat_template.jinja",
    "modules.json",
    "model.safetensors.index.json",
    "1_Pooling/config.json",
)

_SAMPLES, _SAMPLE = 32, 65_536  # how many pieces of a weights file are read, and their bytes


def model_folder(model: str) -> Path:
    """Returns the folder that holds a model's configuration, tokenizer and weights.

    Args:
        model: A folder, or a Hugging Face id (then found in, or fetched into, its cache).

    Raises:
        ModelError: There is no such model.
    """
    folder = Path(model)
    try:
        if folder.is_dir():
            return folder
        in_the_way = folder.exists()
    except OSError as error:  # a name too long, a folder that may not be read
        raise ModelError(f"{model}: cannot be read: {error.strerror}") from None
    if in_the_way or model.startswith((".", "/", "~")):
        raise ModelError(f"{model}: no such model folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    patterns = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]
    try:
        try:
            return Path(snapshot_download(model, allow_patterns=patterns, local_files_only=True))
        except OSError:
            return Path(snapshot_download(model, allow_patterns=patterns))
    except (OSError, HFValidationError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"model {model}: neither a folder nor to be had: {reason}") from None


def identify(folder: Path) -> str:
    """Hashes what a model folder holds; hex sha256.

    Raises:
        ModelError: The folder holds no model.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: not a model folder (it has no config.json)")
    digest = hashlib.sha256()
    for name in _WHOLE:
        path = folder / name
        if path.is_file():
            digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            digest.update(hashlib.sha256(file.read(min(length, 100_000_000))).digest())
            size = path.stat().st_size
            digest.update(f"{path.name}\0{size}\0".encode())
            for n in range(_SAMPLES + 1):
                file.seek(max(size - _SAMPLE, 0) * n // _SAMPLES)
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
