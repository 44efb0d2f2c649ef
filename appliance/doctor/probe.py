"""What needs torch, in a process of its own: `python -m appliance.doctor.probe` prints JSON.

Its own, so that a library that hangs, crashes or prints is one line of the answer.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any


def first_line(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0] if said else ''}"[:200]


def numerics() -> Iterator[dict[str, Any]]:
    """torch sees the GPU, and a tensor survives NF4."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    yield {"torch": torch.__version__, "device": device, "arches": torch.cuda.get_arch_list()}
    if device == "cpu" and torch.version.cuda:
        try:
            torch.zeros(1, device="cuda")
        except Exception as error:
            yield {"no_cuda": first_line(error)}
    try:
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        torch.manual_seed(0)
        tensor = torch.randn(64, 64, device=device)
        packed, state = quantize_4bit(tensor, quant_type="nf4", compress_statistics=True)
        yield {"gap": float((tensor - dequantize_4bit(packed, state)).abs().mean())}
    except Exception as error:
        yield {"nf4_error": first_line(error)}


def engine() -> Iterator[dict[str, Any]]:
    """Unsloth loads: most of the time goes here, so it comes last."""
    start = time.monotonic()
    from appliance.model import backend

    backend.unsloth()
    yield {"seconds": time.monotonic() - start}


def probe() -> Iterator[dict[str, Any]]:
    for part in (numerics, engine):
        try:
            yield from part()
        except BaseException as error:  # a library may well call sys.exit here
            yield {"error": first_line(error)}
            return


if __name__ == "__main__":
    for found in probe():
        # A line at once for each: what is known is not lost with what hangs or crashes later.
        sys.stdout.write(f"\n{json.dumps(found)}\n")
        sys.stdout.flush()
