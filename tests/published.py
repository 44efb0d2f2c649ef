"""Models' sizes, as their config.json and the hub give them."""

from __future__ import annotations

from appliance.sizing.shape import EMBEDDED


def config(kind, hidden, inner, layers, heads, kv_heads, vocabulary, **more):
    return {
        "model_type": kind, "hidden_size": hidden, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "vocab_size": vocabulary, **more,
    }  # fmt: skip


# The sizes in each model's config.json, and the weights that the hub counts in its safetensors.
LLAMA_8B = config("llama", 4096, 14336, 32, 32, 8, 128256)
LLAMA_70B = config("llama", 8192, 28672, 80, 64, 8, 128256)
LLAMA2_7B = config("llama", 4096, 11008, 32, 32, 32, 32000)
MISTRAL_7B = config("mistral", 4096, 14336, 32, 32, 8, 32000)
TIED = {"tie_word_embeddings": True}
COUNTED = {
    "SmolLM2-135M": (EMBEDDED, 134_515_008),
    "Llama-3.1-8B": (LLAMA_8B, 8_030_261_248),
    "Llama-3.3-70B": (LLAMA_70B, 70_553_706_496),
    "Llama-3.2-1B": (config("llama", 2048, 8192, 16, 32, 8, 128256, head_dim=64, **TIED),
                     1_235_814_400),
    "Llama-3.2-3B": (config("llama", 3072, 8192, 28, 24, 8, 128256, head_dim=128, **TIED),
                     3_212_749_824),
    "Llama-2-7b": (LLAMA2_7B, 6_738_415_616),
    "Mistral-7B-v0.1": (MISTRAL_7B, 7_241_732_096),
    "Qwen2.5-7B": (config("qwen2", 3584, 18944, 28, 28, 4, 152064), 7_615_616_512),
    "Qwen3-8B": (config("qwen3", 4096, 12288, 36, 32, 8, 151936, head_dim=128), 8_190_735_360),
    "Qwen3-4B": (config("qwen3", 2560, 9728, 36, 32, 8, 151936, head_dim=128, **TIED),
                 4_022_468_096),
    "gemma-2-2b": (config("gemma2", 2304, 9216, 26, 8, 4, 256000), 2_614_341_888),
    "gemma-2-9b": (config("gemma2", 3584, 14336, 42, 16, 8, 256000), 9_241_705_984),
    "gemma-3-1b": (config("gemma3_text", 1152, 6912, 26, 4, 1, 262144), 999_885_952),
    "Phi-3-mini": (config("phi3", 3072, 8192, 32, 32, 32, 32064), 3_821_079_552),
    "SmolLM3-3B": (config("smollm3", 2048, 11008, 36, 16, 4, 128256), 3_075_098_624),
}  # fmt: skip
