"""DoRA's forward pass (Liu et al. 2024, arXiv 2402.09353) on PEFT's modules, exact at the start.

y = m / ||W + s BA|| * (W x + s B A x): the length of each row is trained apart from its direction.
PEFT takes ||W + s BA|| in the type of the activations. In bf16 that is wrong by up to 0.4 %, so an
untrained DoRA was 0.0016 nats per token away from its base (0.0042 beside 4 bit; measured on the
embedded model). Here it is fp32, and an untrained DoRA changes nothing at all. PEFT also computes
it anew for every token that is generated; here it is kept while nothing is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from appliance.model import backend

_KEPT = "lengths"


def make_exact(model: Any) -> None:
    """To be called on a fresh adapter: m becomes ||W||, and the forward pass the one below."""
    from peft.tuners.lora.dora import DoraLinearLayer

    torch = backend.torch()
    for module in model.modules():
        for name, layer in getattr(module, "lora_magnitude_vector", {}).items():
            if not isinstance(layer, DoraLinearLayer):
                continue
            layer.forward = partial(_forward, layer)
            a, b = module.lora_A[name].weight, module.lora_B[name].weight
            with torch.no_grad():
                layer.weight.copy_(_lengths(module.get_base_layer(), a, b, module.scaling[name]))


def _forward(
    layer: Any,
    x: Any,
    *,
    lora_A: Any,
    lora_B: Any,
    scaling: float,
    base_layer: Any,
    base_result: Any = None,
    **kwargs: Any,
) -> Any:
    """What is to be added to the base layer's output; x is [..., in].

    The lengths carry no gradient (section 4.3 of the paper). Under dropout PEFT gives no
    `base_result`, since x is another one than the base layer saw.
    """
    torch = backend.torch()
    lengths = None if layer.training else layer._cache_get(_KEPT, None)
    if lengths is None:
        # What is kept may be needed for a backward pass, which inference mode would forbid.
        with torch.inference_mode(False), torch.no_grad():
            lengths = _lengths(base_layer, lora_A.weight, lora_B.weight, scaling)
        if not layer.training:
            layer._cache_store(_KEPT, lengths)  # PEFT empties it when training goes on
    if base_result is None:
        weight = _dequantized(base_layer).to(x.dtype)
        base_result = torch.nn.functional.linear(x, weight)
    elif base_layer.bias is not None:
        base_result = base_result - base_layer.bias
    scale = layer.weight / lengths
    change = (scale - 1) * base_result + scale * scaling * lora_B(lora_A(x))
    strength = getattr(layer, "strength", 1.0)
    return change if strength == 1 else strength * change


@contextmanager
def scaled(layers: Sequence[Any], strength: float) -> Iterator[None]:
    """W + strength * (W' - W): the change of the weight is scaled, as the merge does it."""
    for layer in layers:
        layer.strength = strength
    try:
        yield
    finally:
        for layer in layers:
            layer.strength = 1.0


def _lengths(base_layer: Any, a: Any, b: Any, scaling: float) -> Any:
    """||W + s BA|| of each row, [out] in fp32; a is [r, in], b is [out, r]."""
    torch = backend.torch()
    with torch.autocast(backend.device(), enabled=False):
        weight = torch.addmm(_dequantized(base_layer).float(), b.float(), a.float(), alpha=scaling)
        return torch.linalg.norm(weight, dim=1)


def _dequantized(base_layer: Any) -> Any:
    from peft.utils.integrations import dequantize_module_weight

    return dequantize_module_weight(base_layer).detach()
