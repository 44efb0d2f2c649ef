"""What a model is made of, from its config.json alone: layers, weights, what an adapter adds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import ModelError

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
# model_type -> (RMS norms of the hidden size in a layer, are queries and keys normed, biases of q,
# k and v, is the output layer the embedding where the config does not say). From transformers'
# modeling files of these names.
_KINDS: dict[str, tuple[int, bool, bool, bool]] = {
    "llama": (2, False, False, False),
    "mistral": (2, False, False, False),
    "granite": (2, False, False, False),
    "smollm3": (2, False, False, True),
    "qwen2": (2, False, True, False),
    "qwen3": (2, True, False, False),
    "gemma": (2, False, False, True),
    "gemma2": (4, False, False, True),
    "gemma3_text": (4, True, False, True),
    "phi3": (2, False, False, False),
}
# SmolLM2-135M-Instruct, the embedded model: so that it need not be converted to be reckoned with.
EMBEDDED: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
    "tie_word_embeddings": True, "max_position_embeddings": 8192,
}  # fmt: skip


@dataclass(frozen=True)
class Linear:
    """A linear layer of each decoder layer: [columns] -> [rows]."""

    name: str
    rows: int
    columns: int
    bias: bool = False

    @property
    def weights(self) -> int:
        return self.rows * self.columns


@dataclass(frozen=True)
class Shape:
    """A decoder. Weights are counted in numbers, not bytes."""

    kind: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    linears: tuple[Linear, ...]  # of one layer
    norms: int  # numbers of a layer's norms
    positions: int  # tokens that it was made for

    @property
    def linear_weights(self) -> int:
        """All that 4 bit quantizes: the linear layers of the decoder."""
        return self.layers * sum(linear.weights for linear in self.linears)

    @property
    def output_weights(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def kept_weights(self) -> int:
        """All that stays in 16 bit: embedding, output layer, norms, biases."""
        biases = sum(linear.rows for linear in self.linears if linear.bias)
        tables = self.output_weights * (1 if self.tied else 2)
        return tables + self.layers * (self.norms + biases) + self.hidden

    @property
    def weights(self) -> int:
        return self.linear_weights + self.kept_weights

    @property
    def largest_linear(self) -> int:
        return max(linear.weights for linear in self.linears)

    def adapter_weights(self, r: int, targets: Iterable[str], dora: bool = False) -> int:
        """Numbers that LoRA trains: r x (rows + columns) of each target (Hu et al. 2021).

        DoRA has one more for each row (Liu et al. 2024). Raises ModelError for a target that the
        model has not.
        """
        known = {linear.name: linear for linear in self.linears}
        missing = [name for name in targets if name not in known]
        if missing:
            raise ModelError(
                f"A model of the kind {self.kind} has no layers named {', '.join(missing)}.",
                f"Set adapter.target_modules to some of {', '.join(known)}.",
            )
        chosen = [known[name] for name in targets]
        return self.layers * sum(
            r * (linear.rows + linear.columns) + (linear.rows if dora else 0) for linear in chosen
        )


def read(path: Path) -> Shape:
    """The shape that a config.json describes. Raises ModelError."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON.", "Fetch the model anew.") from error
    return shape(config if isinstance(config, dict) else {}, str(path))


def shape(config: Mapping[str, Any], where: str = "config.json") -> Shape:
    """Raises ModelError for an architecture that is not counted here, or a config without sizes."""
    kind = str(config.get("model_type"))
    if kind not in _KINDS:
        raise ModelError(
            f"A model of the kind {kind} ({where}) cannot be reckoned before it is loaded.",
            f"These can: {', '.join(_KINDS)}. It may train all the same.",
        )
    hidden_norms, normed, biased, tied = _KINDS[kind]

    def size(name: str, default: int | None = None) -> int:
        value = config.get(name) or default
        if not isinstance(value, int) or value < 1:
            raise ModelError(f"{where} does not say {name}.", "Fetch the model anew.")
        return value

    hidden, inner = size("hidden_size"), size("intermediate_size")
    heads = size("num_attention_heads")
    kv_heads = size("num_key_value_heads", heads)
    head_dim = size("head_dim", 256 if kind.startswith("gemma") else hidden // heads)
    queries, keys = heads * head_dim, kv_heads * head_dim
    said = bool(config.get("attention_bias", False))
    biased, out_bias, mlp_bias = biased or said, said and not biased, bool(config.get("mlp_bias"))
    if kind == "phi3":
        linears: tuple[Linear, ...] = (
            Linear("qkv_proj", queries + 2 * keys, hidden),
            Linear("o_proj", hidden, queries),
            Linear("gate_up_proj", 2 * inner, hidden),
            Linear("down_proj", hidden, inner),
        )
    else:
        linears = (
            Linear("q_proj", queries, hidden, biased),
            Linear("k_proj", keys, hidden, biased),
            Linear("v_proj", keys, hidden, biased),
            Linear("o_proj", hidden, queries, out_bias),
            Linear("gate_proj", inner, hidden, mlp_bias),
            Linear("up_proj", inner, hidden, mlp_bias),
            Linear("down_proj", hidden, inner, mlp_bias),
        )
    return Shape(
        kind, size("num_hidden_layers"), hidden, inner, heads, kv_heads, head_dim,
        size("vocab_size"), bool(config.get("tie_word_embeddings", tied)), linears,
        hidden_norms * hidden + (2 * head_dim if normed else 0),
        size("max_position_embeddings", 1 << 30),
    )  # fmt: skip
