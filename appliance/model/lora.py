"""LoRA's forward and backward pass on a CPU: y = x Wᵀ + s (x Aᵀ) Bᵀ, its gradients written out.

PEFT's own takes twice as many operations, most of them casts (the adapter's weights are trained in
fp32 and computed with in the activations' type) and copies; beside a small model's products they
are an eighth of a step. Hu et al. 2021, arXiv 2106.09685, equation 3; Unsloth does the same on a
GPU. With B = 0 the result is the base's own to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import Any

from appliance.model import backend

NAME = "default"  # PEFT's name of the one adapter that is put on
_Factors = tuple[Any, Any]
_cast: ContextVar[dict[int, _Factors] | None] = ContextVar("cast", default=None)


@contextmanager
def unchanged() -> Iterator[None]:
    """No adapter's weights change meanwhile: they are cast once, and not again for each token."""
    before = _cast.set({})
    try:
        yield
    finally:
        _cast.reset(before)


def fuse(model: Any) -> None:
    """Let the LoRA layers of `model` compute so, where the base's weight is held (`dense.hold`)."""
    for layer in model.modules():
        if NAME in getattr(layer, "lora_A", {}) and hasattr(layer.get_base_layer(), "held"):
            layer.forward = partial(_forward, layer, layer.forward)


def _forward(layer: Any, theirs: Callable[..., Any], x: Any, *args: Any, **kwargs: Any) -> Any:
    """x [..., in] -> [..., out]; what is not plain LoRA is left to PEFT."""
    torch = backend.torch()
    drops = layer.training and getattr(layer.lora_dropout[NAME], "p", 0)
    plain = not (args or kwargs or layer.disable_adapters or layer.merged or layer.lora_variant)
    if drops or not plain or layer.active_adapters != [NAME]:
        return theirs(x, *args, **kwargs)
    below = layer.get_base_layer()
    weight, bias = below.held, below.bias
    bias = None if bias is None else bias.to(weight.dtype)
    factors = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight, layer.scaling[NAME]
    with torch.autocast(x.device.type, enabled=False):  # it would cast once more
        if torch.is_grad_enabled():
            y = _function().apply(x.to(weight.dtype), weight, bias, *factors)
        else:
            y, _ = _both(x.to(weight.dtype), weight, bias, *_kept(layer, weight.dtype, *factors))
    return y.to(x.dtype)


def _kept(layer: Any, kind: Any, a: Any, b: Any, scaling: float) -> _Factors:
    cast = _cast.get()
    if cast is None:
        return _computed_with(kind, a, b, scaling)
    if id(layer) not in cast:
        cast[id(layer)] = _computed_with(kind, a, b, scaling)
    return cast[id(layer)]


def _computed_with(kind: Any, a: Any, b: Any, scaling: float) -> _Factors:
    """A and s B."""
    return a.to(kind), (scaling * b).to(kind)


def _both(x: Any, weight: Any, bias: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """(y [..., out], x Aᵀ [n, r]) of A and s B, all in the type of x and the weight."""
    rows = x.reshape(-1, x.shape[-1])
    low = rows @ a.t()
    y = weight.times(rows, bias).addmm_(low, b.t())
    return y.view(*x.shape[:-1], -1), low


@cache
def _function() -> Any:
    torch = backend.torch()

    class Lora(torch.autograd.Function):  # type: ignore[name-defined]
        @staticmethod
        def forward(
            ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scaling: float
        ) -> Any:
            low_a, low_b = _computed_with(x.dtype, a, b, scaling)
            y, low = _both(x, weight, bias, low_a, low_b)
            ctx.save_for_backward(x, low, low_a, low_b)
            ctx.weight, ctx.scaling, ctx.types = weight, scaling, (a.dtype, b.dtype)
            return y

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> tuple[Any, ...]:
            x, low, a, b = ctx.saved_tensors
            rows, of_y = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
            of_low = of_y @ b
            of_x = None
            if ctx.needs_input_grad[0]:
                of_x = ctx.weight.back(of_y).addmm_(of_low, a).view_as(x)
            of_a = (of_low.t() @ rows).to(ctx.types[0])
            of_b = (low.t() @ of_y).to(ctx.types[1]).t() * ctx.scaling
            return of_x, None, None, of_a, of_b, None

    return Lora
