"""On a CPU 4-bit weights are dequantized once, and not again in every forward and backward pass.

The numbers are those of the 4-bit weights, to the bit; what 4 bit saves is memory, and a small
model's weights are little of it. A step of the embedded model gets a tenth to a fifth shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from appliance.model import backend

MOST = 2 * 2**30  # bytes of dequantized weights, over which they stay in 4 bit


def hold(model: Any) -> None:
    """Let the 4-bit layers of `model` compute with weights that are held dequantized."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    if backend.width() * sum(layer.in_features * layer.out_features for layer in layers) > MOST:
        return
    for layer in layers:
        weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        weight = weight.reshape(layer.out_features, -1).to(layer.compute_dtype or weight.dtype)
        layer.held = weight
        layer.forward = _linear(weight, layer.bias)


def fold(model: Any) -> None:
    """Let the output layer read rows one below the other, as a matrix.

    A decoder's last hidden states of several rows are no such matrix, and where the output layer is
    frozen, as beside an adapter, torch then copies its whole weight once for each row: 2 GB and
    some seconds for 32 prompts of the embedded model, three quarters of what their answers take.
    """

    def pack(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].contiguous(), *args[1:])

    model.get_output_embeddings().register_forward_pre_hook(pack)


def _linear(weight: Any, bias: Any) -> Callable[[Any], Any]:
    """As bitsandbytes computes it: in the weight's type, and the result in the input's."""
    linear = backend.torch().nn.functional.linear
    if bias is not None:
        bias = bias.to(weight.dtype)

    def forward(x: Any) -> Any:
        return linear(x.to(weight.dtype), weight, bias).to(x.dtype)

    return forward
