"""Elastic weight consolidation (Kirkpatrick et al. 2017, arXiv 1612.00796) for a LoRA adapter.

The change of the weights is pulled back where the base's answers to general dialogues depend on
it: a quadratic penalty by the base's Fisher information, estimated once before training, so that
a step costs a few thin products and no forward pass.

Why these factors. Let dialogue i of n have answers sampled from the base itself, at N places in
all. For a small change, to second order,

    KL(base || tuned) per answer token  =  1/2 * 1/N * sum_i ( sum_l sum_t g_lit . dW_l x_lit )^2

with x_lit [d_in] the input of layer l at token t and g_lit [d_out] the gradient of the sampled
answers' log-probability by its output. This is brought into Kronecker factors: a dialogue's
tokens by the mean input and the summed gradient, x_li and g_li ("reduce", Eschenhagen et al. 2023,
arXiv 2311.00636), and inputs as if independent of gradients (Martens and Grosse 2015, arXiv
1503.05671, there before its blocks are cut), which puts the mean over all pairs i, j:

    penalty  =  1/2 * 1/(N n) * sum_ij ( sum_l g_lj . dW_l x_li )^2

It is in nats per answer token, as `anchor.kl`. The layers are summed inside the square: a task
moves all of them in concert, and without these cross terms the penalty of a trained adapter is
too small by more than ten times. It holds while the change is small; where the tuned model has
gone far from its base the KL itself grows faster.

Memory: k rows [d_in] and [d_out] for each layer, k <= ROWS, no d x d matrix and no dW. In fp32
that is 0.16 GiB for a 135M model and 1.4 GB for an 8B model (d_in + d_out sum to 2.7 million over
its layers) at k = 128; half of it with 64 dialogues.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from appliance.errors import RecipeError
from appliance.model import backend
from appliance.model.adapter import switched_off
from appliance.model.at_once import batches
from appliance.model.chat import Encoded
from appliance.model.likelihood import bearing_logprobs, block
from appliance.model.load import Loaded
from appliance.model.packed import whole_rows
from appliance.train import processes

ROWS = 128  # of each factor at most; more dialogues are added up in them with random signs
TOKENS = 512  # at once while estimating: the activations of this many are kept


@dataclass
class Layer:
    """One adapted layer: dW = scale * b @ a, and its rows of the two factors.

    a [r, d_in], b [d_out, r]: the adapter's own parameters. inputs [k, d_in], gradients
    [k, d_out]: scaled so that the penalty is 1/2 |sum over layers of inputs dW' gradients'|^2.
    """

    a: Any
    b: Any
    scale: float
    inputs: Any
    gradients: Any


class Ewc(TrainerCallback):
    """The penalty over all adapted layers; as a callback it adds its gradient to every step's.

    It is added after clipping: `train.max_grad_norm` bounds the task's gradient alone.
    """

    def __init__(
        self, layers: Sequence[Layer], strength: float, facts: dict[str, Any] | None = None
    ) -> None:
        self.layers, self.strength = list(layers), strength
        self._facts = facts or {}
        self._last: Any = None

    @classmethod
    def estimate(
        cls,
        loaded: Loaded,
        rows: Sequence[Encoded],
        *,
        strength: float,
        seed: int,
        done: Callable[[int], None] = lambda n: None,
    ) -> Ewc:
        """From the base's own answers at the places of `rows` that carry loss.

        The adapter is switched off meanwhile, so it may be trained already. `done` hears how many
        rows are through. Raises RecipeError where what is trained is not a plain LoRA adapter.
        """
        torch = backend.torch()
        started = time.monotonic()
        modules = adapted(loaded.model)
        layers = [_empty(module, min(ROWS, len(rows))) for module in modules.values()]
        draw = torch.Generator(device=backend.device()).manual_seed(seed)
        signs = torch.Generator().manual_seed(seed)
        seen = places = 0
        for group in batches([len(r.input_ids) for r in rows], TOKENS, 32):
            found, count = dialogue_rows(loaded, modules, [rows[i] for i in group], draw)
            # The same signs for every layer, or the products of two layers would average to zero.
            sign = torch.randint(0, 2, (2, len(group), 1), generator=signs) * 2.0 - 1
            for layer, (x, g) in zip(layers, found, strict=True):
                fold(layer.inputs, x, sign[0], seen)
                fold(layer.gradients, g, sign[1], seen)
            seen, places = seen + len(group), places + count
            done(len(group))
        for layer in layers:
            layer.inputs /= seen**0.5
            layer.gradients /= places**0.5
            processes.as_first_has(layer.inputs)
            processes.as_first_has(layer.gradients)
        facts = {
            "layers": len(layers),
            "dialogues": seen,
            "answer_tokens": places,
            "rows_kept": len(layers[0].inputs),
            "seconds": round(time.monotonic() - started, 1),
        }
        return cls(layers, strength, facts)

    def penalty(self) -> float:
        """Of the adapter as it is now, before the strength: nats per answer token."""
        torch = backend.torch()
        with torch.no_grad():
            whole, _ = self._pairs()
            return float(whole.square().sum()) / 2

    def add_gradients(self) -> None:
        """Add strength * d penalty / d parameter to every `.grad` of the adapter."""
        torch = backend.torch()
        with torch.no_grad():
            whole, thin = self._pairs()
            self._last = whole.square().sum() / 2
            for layer, (p, q) in zip(self.layers, thin, strict=True):
                weight = self.strength * layer.scale
                _add(layer.a, (whole @ q).T @ layer.inputs, weight)
                _add(layer.b, layer.gradients.T @ (whole.T @ p), weight)

    def _pairs(self) -> tuple[Any, list[tuple[Any, Any]]]:
        """(every input's change as every gradient feels it [k, k], each layer's thin products)."""
        thin = []
        whole: Any = 0
        for layer in self.layers:
            p = layer.inputs @ layer.a.detach().to(layer.inputs.dtype).T
            q = layer.gradients @ layer.b.detach().to(layer.gradients.dtype)
            whole = whole + layer.scale * (p @ q.T)
            thin.append((p, q))
        return whole, thin

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.add_gradients()

    def facts(self) -> dict[str, Any]:
        """What it was estimated on, and the penalty at the last step: for train.json."""
        last = None if self._last is None else float(self._last)
        return self._facts | {"strength": self.strength, "last_penalty": last}


def fold(factor: Any, rows: Any, signs: Any, seen: int) -> None:
    """Add rows [n, d] to factor [k, d], the first as number `seen` of all: row i goes to i mod k.

    factor' factor is then the sum over all rows of row row', exactly for at most k of them; for
    more it is right in the mean, and |factor v|^2 errs by sqrt(2 / k) (one standard deviation).
    """
    torch = backend.torch()
    slots = (torch.arange(len(rows), device=rows.device) + seen) % len(factor)
    factor.index_add_(0, slots, signs.to(rows.device) * rows)


def _add(parameter: Any, gradient: Any, weight: float) -> None:
    gradient = gradient.to(parameter.dtype)
    if parameter.grad is None:
        parameter.grad = gradient * weight
    else:
        parameter.grad.add_(gradient, alpha=weight)


def _empty(module: Any, rows: int) -> Layer:
    torch = backend.torch()
    name = module.active_adapters[0]
    a, b = module.lora_A[name].weight, module.lora_B[name].weight
    return Layer(
        a,
        b,
        float(module.scaling[name]),
        torch.zeros(rows, a.shape[1], device=a.device),
        torch.zeros(rows, b.shape[0], device=b.device),
    )


def adapted(model: Any) -> dict[str, Any]:
    """PEFT's layers by name. Raises RecipeError where anything else is trained beside A and B."""
    found = {n: m for n, m in model.named_modules() if len(getattr(m, "lora_A", ()))}
    known = {
        id(pair[m.active_adapters[0]].weight)
        for m in found.values()
        for pair in (m.lora_A, m.lora_B)
    }
    other = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in known]
    if other or not found:
        raise RecipeError(
            "ewc.strength works on a plain LoRA adapter of linear layers, "
            + (f"and {other[0]} is trained too." if other else "and there is none."),
            "Set ewc.strength=0, or train without DoRA and without whole layers.",
        )
    return found


def dialogue_rows(
    loaded: Loaded, modules: dict[str, Any], rows: Sequence[Encoded], draw: Any
) -> tuple[list[tuple[Any, Any]], int]:
    """(for each module the mean inputs [rows, d_in] and summed gradients [rows, d_out] in fp32,
    how many answer places): of the base, targets sampled from its own distribution by `draw`."""
    torch = backend.torch()
    inputs, labels = block(rows, loaded.tokenizer)
    # Only the tokens of the rows, not the padding; gradients are zero there by themselves.
    share = inputs["attention_mask"] / inputs["attention_mask"].sum(1, keepdim=True)
    with torch.enable_grad(), _watched(loaded.model, modules, share) as seen, switched_off(loaded):
        logprobs, _, _ = bearing_logprobs(loaded.model, inputs, labels)
        sampled = torch.multinomial(logprobs.detach().exp(), 1, generator=draw)
        logprobs.gather(-1, sampled).sum().backward()
    missed = next((name for name in modules if len(seen[name]) < 2), None)
    if missed:
        raise RecipeError(
            f"ewc.strength cannot see what {missed} is given and gives.",
            "Set ewc.strength=0, or leave this layer out of adapter.target_modules.",
        )
    return [(seen[name]["input"], seen[name]["gradient"]) for name in modules], len(sampled)


@contextmanager
def _watched(model: Any, modules: dict[str, Any], share: Any) -> Iterator[dict[str, Any]]:
    """Each module's mean inputs and summed output gradients, while the model runs in it.

    Unsloth's fused kernels on a GPU do not call these modules; with the adapter off and a gradient
    wanted by the embeddings' output they step aside for PEFT's own forward, which does. Compiled
    blocks would not see the hooks, so nothing runs compiled here. A checkpointed block runs twice
    and the second run overwrites the first.
    """
    torch = backend.torch()
    seen: dict[str, Any] = {name: {} for name in modules}

    def watch(name: str) -> Callable[..., None]:
        def forward(module: Any, args: tuple[Any, ...], output: Any) -> None:
            x = args[0].detach()
            # A layer that takes only some tokens (an expert) has no mean over the dialogue.
            if x.shape[:2] != share.shape or not output.requires_grad:
                return
            seen[name]["input"] = torch.einsum("bt,btd->bd", share, x.float())
            output.register_hook(backward)

        def backward(gradient: Any) -> None:
            seen[name]["gradient"] = gradient.float().sum(1)

        return forward

    hooks = [module.register_forward_hook(watch(name)) for name, module in modules.items()]
    hooks.append(
        model.get_input_embeddings().register_forward_hook(
            lambda module, args, output: output.requires_grad_(True)
        )
    )
    try:
        with torch.compiler.set_stance("force_eager"), whole_rows():
            yield seen
    finally:
        for hook in hooks:
            hook.remove()
