"""Three trainers on one NVIDIA GPU, no network needed: `python benchmarks/gpu.py`.

What they are, and what is timed, is in trainers.py. The small model is the embedded one; 1b, 3b and
8b have the published shapes of Llama 3.2 1B, Llama 3.2 3B and Llama 3.1 8B and random weights, of
which neither pace nor memory takes notice (16 GB of disk for the largest). All recompute
activations, as Unsloth's documentation has it; the peers get `--micro` rows at once and the project
finds its own. The rows are the demo's words, drawn to a number of tokens.

Then an 8B model is trained at 2,048 tokens with no more than 24 GiB of the card. Without a GPU it
says so and ends; `--on-cpu` goes through the same with a model of two layers, to try this program.
Writes benchmarks/results/gpu-<card>.json.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainers import ROOT, TRAINERS, Job, alone, on_gpu

RESULTS = ROOT / "benchmarks" / "results"
# hidden, feed-forward, layers, heads, key-value heads, head size, is the output layer the input's
SHAPES = {
    "1b": (2048, 8192, 16, 32, 8, 64, True),  # Llama 3.2 1B, its config.json
    "3b": (3072, 8192, 28, 24, 8, 128, True),  # Llama 3.2 3B
    "8b": (4096, 14336, 32, 32, 8, 128, False),  # Llama 3.1 8B
    "tiny": (256, 512, 2, 4, 2, 64, True),
}
VOCABULARY = 128_256
ANSWER = 64  # tokens with loss in each row, about


def random_model(name: str, folder: Path) -> Path:
    """A folder with random 16-bit weights in this shape, and the embedded model's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    from appliance.model.embedded import folder as embedded

    hidden, inner, layers, heads, groups, size, tied = SHAPES[name]
    tokenizer = AutoTokenizer.from_pretrained(embedded())
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=inner,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=groups,
        head_dim=size, tie_word_embeddings=tied, max_position_embeddings=8192,
        rope_theta=500_000.0, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with torch.device("cuda" if on_gpu() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rows(folder: Path, count: int, tokens: int) -> Path:
    """A run whose data stage is done: rows of half to one and a half times so many tokens."""
    from appliance.data.rows import Row, read_rows, write_jsonl
    from appliance.pipeline import Order, go
    from appliance.recipe import load
    from appliance.run import RunDir

    run, recipe = RunDir(folder), load("sft")
    run.create(recipe)
    go(run, recipe, Order(only=("data",)))
    words = [w for row in read_rows(run.train_rows) for w in row.messages[0]["content"].split()]
    draw = random.Random(0)

    def text(length: int) -> str:
        return " ".join(draw.choices(words, k=max(1, round(length / 1.35))))  # tokens of a word

    made = []
    for line in range(1, count + 1):
        length = draw.uniform(0.5, 1.5) * tokens
        prompt = {"role": "user", "content": text(length - ANSWER)}
        made.append(Row((prompt, {"role": "assistant", "content": text(ANSWER)}), "made", line))
    write_jsonl(run.train_rows, made)
    return folder


def matrix_rate() -> float:
    """FLOP/s of bf16 products of 8192 x 8192 on this device (512 on a CPU), the best of five."""
    import torch

    size, device = (8192, "cuda") if on_gpu() else (512, "cpu")
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    best = 0.0
    for _ in range(6):
        started = time.perf_counter()
        for _ in range(10):
            a @ a
        if on_gpu():
            torch.cuda.synchronize()
        best = max(best, 20 * size**3 / (time.perf_counter() - started))
    return best


def flops(name: str) -> float:
    """Of one token's training step: 4 for each weight of a matrix product.

    2 forward and 2 for the gradient of its input; the frozen weight itself needs none. What is
    computed again, attention's products and the adapter's are left out.
    """
    hidden, inner, layers, heads, groups, size, _ = SHAPES[name]
    attention = hidden * size * (2 * heads + 2 * groups)
    return 4.0 * (layers * (attention + 3 * hidden * inner) + hidden * VOCABULARY)


def card() -> dict[str, Any]:
    if not on_gpu():
        return {"name": "no GPU"}
    import torch

    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    return {
        "name": torch.cuda.get_device_name(),
        "memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1),
        "driver": driver[0] if driver else "unknown",
        "cuda": torch.version.cuda,
    }


def against_peers(found: dict[str, Any]) -> None:
    mine = found.get("appliance", {})
    for peer in ("trl", "unsloth"):
        theirs = found.get(peer, {})
        if "failed" not in mine | theirs and mine and theirs:
            mine[f"against_{peer}"] = {
                "times_as_fast": round(theirs["seconds_per_step"] / mine["seconds_per_step"], 2),
                "share_of_its_memory": round(
                    mine["peak_memory_gib"] / theirs["peak_memory_gib"], 2
                ),
            }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="small,1b,3b,8b")
    parser.add_argument("--trainers", default="trl,unsloth,appliance", help=", ".join(TRAINERS))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=512, help="of a row, on average")
    parser.add_argument("--micro", type=int, default=2, help="the peers' rows at once")
    parser.add_argument("--on-cpu", action="store_true", help="try this program without a GPU")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if not on_gpu() and not asked.on_cpu:
        print("There is no NVIDIA GPU here, so nothing is measured.", file=sys.stderr)
        return 1
    names = ["tiny"] if asked.on_cpu else asked.models.split(",")

    from appliance.model.backend import versions
    from appliance.model.embedded import folder as embedded

    rate, found, capped = matrix_rate(), {}, None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        given = rows(folder / "rows", 8 * asked.steps, asked.tokens)
        for name in names:
            print(f"[{name}]", file=sys.stderr)
            model = embedded() if name == "small" else random_model(name, folder / name)

            def job(trainer: str, run: Path = given, model: Path = model, **more: Any) -> Job:
                place = folder / f"{model.name}-{trainer}-{len(more)}"
                values = {"steps": asked.steps, "micro": asked.micro, "checkpointing": True} | more
                return Job(trainer, str(place), str(model), str(run), **values)

            one = {trainer: alone(job(trainer)) for trainer in asked.trainers.split(",")}
            for result in one.values():
                if name != "small" and "failed" not in result:
                    share = result["tokens_per_second"] * flops(name) / rate
                    result["share_of_the_matrix_rate"] = round(share, 3)
            against_peers(one)
            found[name] = one
            if name == names[-1]:
                long = rows(folder / "long", 24, 1900)
                capped = alone(job("appliance", long, steps=3, memory_gib=24 if on_gpu() else None))
    result = {
        "what": "three trainers on one GPU; one of them with 24 GiB, at 2,048 tokens",
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python benchmarks/gpu.py " + " ".join(sys.argv[1:]),
        "card": card(),
        "matrix_tflops_measured": round(rate / 1e12, 1),
        "models": found,
        f"{names[-1]}_with_24_gib_at_2048_tokens": capped,
        "versions": versions(),
    }
    text = json.dumps(result, indent=2) + "\n"
    slug = re.sub(r"[^a-z0-9]+", "-", result["card"]["name"].lower()).strip("-")
    (asked.results / f"gpu-{slug}.json").write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
