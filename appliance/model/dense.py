"""On a CPU 4-bit weights are dequantized once, and not again in every forward and backward pass.

The numbers are those of the 4-bit weights, to the bit; what 4 bit saves is memory, and a small
model's weights are little of it. They are laid out once as oneDNN's products read them, which it
does anew for every product otherwise: of the few rows of a token that is generated that is a third
of the time, of a training step's 300 rows a tenth (docs/cpu.md).

A model of 16 bit computes with its weights as they lie: those of a full fine-tuning are the base's
and the tuned ones by turns, and both are to be measured by the same products.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from appliance.model import backend

_Product = Callable[[Any, Any], Any]  # of x and a bias

MOST = 2 * 2**30  # bytes of dequantized weights, over which they stay in 4 bit


class Weight:
    """A frozen weight [out, in] for products: x Wᵀ of x [rows, in], and g W of g [rows, out]."""

    def __init__(self, read: Callable[[], Any], lays_out: bool = True) -> None:
        """`read` gives the weight; it is called again where a gradient first needs the other way.

        So a model that is only asked holds one layout alone.
        """
        self._read = read
        self._back: _Product | None = None
        weight = read()
        self.dtype = weight.dtype
        self._lays_out = lays_out and _reorders(weight.dtype)
        self._times = self._product_with(weight)

    def times(self, x: Any, bias: Any = None) -> Any:
        """[rows, in] -> [rows, out]"""
        return self._times(x, bias)

    def back(self, g: Any) -> Any:
        """[rows, out] -> [rows, in]"""
        if self._back is None:
            self._back = self._product_with(self._read().t())
        return self._back(g, None)

    def _product_with(self, weight: Any) -> _Product:
        torch = backend.torch()
        if not self._lays_out:
            return lambda x, bias: torch.nn.functional.linear(x, weight, bias)
        product = torch.ops.mkldnn._linear_pointwise
        with torch.inference_mode(False), torch.no_grad():
            laid_out = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        return lambda x, bias: product(x, laid_out, bias, "none", [], "")


def hold(model: Any) -> None:
    """Let the linear layers of `model`, which stay as they are, compute with a `Weight`.

    Laid out, the output layer's too, beside layers of 4 bit; where they are too large for that,
    these stay in 4 bit.
    """
    from bitsandbytes.nn import Linear4bit

    torch = backend.torch()
    layers = [m for m in model.modules() if type(m) is torch.nn.Linear or isinstance(m, Linear4bit)]
    size = backend.width() * sum(layer.in_features * layer.out_features for layer in layers)
    fits = size <= MOST and any(isinstance(layer, Linear4bit) for layer in layers)
    for layer in layers:
        if not isinstance(layer, Linear4bit):
            _hold(layer, Weight(layer.weight.detach, fits))
        elif fits:
            _hold(layer, Weight(_dequantized(layer)))


def let_go(model: Any) -> None:
    """Let the layers compute with their own weights again, which are to change."""
    for layer in model.modules():
        if hasattr(layer, "held"):
            del layer.held, layer.forward


def fold(model: Any) -> None:
    """Let the output layer read rows one below the other, as a matrix.

    A decoder's last hidden states of several rows are no such matrix, and where the output layer is
    frozen, as beside an adapter, torch then copies its whole weight once for each row: 2 GB and
    some seconds for 32 prompts of the embedded model, three quarters of what their answers take.
    """

    def pack(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].contiguous(), *args[1:])

    model.get_output_embeddings().register_forward_pre_hook(pack)


def _hold(layer: Any, weight: Weight) -> None:
    layer.held = weight
    layer.forward = _linear(weight, layer.bias)


def _dequantized(layer: Any) -> Callable[[], Any]:
    from bitsandbytes.functional import dequantize_4bit

    def read() -> Any:
        weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        return weight.reshape(layer.out_features, -1).to(layer.compute_dtype or weight.dtype)

    return read


def _linear(weight: Weight, bias: Any) -> Callable[[Any], Any]:
    """As bitsandbytes computes it: in the weight's type, and the result in the input's."""
    torch = backend.torch()
    if bias is not None:
        bias = bias.to(weight.dtype)

    def forward(x: Any) -> Any:
        rows = x.to(weight.dtype).reshape(-1, x.shape[-1])
        if torch.is_grad_enabled() and x.requires_grad:
            y = _product().apply(rows, weight, bias)
        else:
            y = weight.times(rows, bias)
        return y.view(*x.shape[:-1], -1).to(x.dtype)

    return forward


@cache
def _product() -> Any:
    torch = backend.torch()

    class Product(torch.autograd.Function):  # type: ignore[name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any, weight: Weight, bias: Any) -> Any:
            ctx.weight = weight
            return weight.times(x, bias)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> tuple[Any, ...]:
            return ctx.weight.back(gradient), None, None

    return Product


@cache
def _reorders(dtype: Any) -> bool:
    """Has torch oneDNN's products of weights laid out before, and are they right here?

    They are what torch's own compiler (inductor) freezes weights with, and it has no other door to
    them.
    """
    torch = backend.torch()
    weight = torch.arange(-96, 96).view(12, 16).to(dtype) / 64
    x = weight[:5].flip(0).contiguous()
    try:
        laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        found = torch.ops.mkldnn._linear_pointwise(x, laid_out, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return bool(torch.allclose(found, torch.nn.functional.linear(x, weight), atol=0.05))
