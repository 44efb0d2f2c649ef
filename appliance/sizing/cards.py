"""Common NVIDIA cards: memory, bandwidth, dense matrix rate, and what an hour of one costs."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from appliance.errors import BadInput

RUNPOD = ("RunPod, Community Cloud", "2026-09-25")
RUNPOD_MARCH = ("RunPod, lowest listed", "2026-03-10")
LAMBDA = ("Lambda, on demand", "2026-09-25")
VAST = ("Vast.ai, lowest listed", "2026-05")


@dataclass(frozen=True)
class Price:
    """`per_hour` in US dollars, as `source` listed it at `date`: what is typical, no offer."""

    per_hour: float
    source: str
    date: str = ""

    @property
    def listed(self) -> str:
        return f"{self.source}, {self.date}" if self.date else self.source


@dataclass(frozen=True)
class Card:
    """One GPU.

    memory: GiB that the driver shows. bandwidth: GB/s of its memory. rate: dense 16-bit tensor
    TFLOP/s summed in 32 bit; None where it is not known. bf16: has it such numbers?
    """

    key: str
    name: str
    memory: float
    bandwidth: float | None
    rate: float | None
    price: Price | None = None
    bf16: bool = True


# Memory as nvidia-smi shows it (with ECC on where it is by default). Bandwidth and rate from
# NVIDIA's data sheets and the architecture white papers (Turing, GA102, A100, Ada, Hopper, RTX
# Blackwell): "peak BF16 Tensor TFLOPS with FP32 accumulate" without sparsity, which data sheets
# print doubled ("with sparsity": L4 242, A10 250, L40S 733, H100 1,979). GeForce cards sum in 32
# bit at half their advertised rate. 3060 and 4070 Ti SUPER have no such line; theirs is that of
# their sister (3090, 4090) by number of multiprocessors and boost clock.
# Prices: docs/plan.md says where they were read.
CARDS = (
    Card("rtx3060", "GeForce RTX 3060", 12.0, 360, 25.5),
    Card("rtx3090", "GeForce RTX 3090", 24.0, 936, 71.2, Price(0.22, *RUNPOD_MARCH)),
    Card("rtx4070tis", "GeForce RTX 4070 Ti SUPER", 16.0, 672, 88.2),
    Card("rtx4080", "GeForce RTX 4080", 16.0, 717, 97.5),
    Card("rtx4090", "GeForce RTX 4090", 24.0, 1008, 165.2, Price(0.34, *RUNPOD)),
    Card("rtx5090", "GeForce RTX 5090", 31.8, 1792, 209.5, Price(0.69, *RUNPOD_MARCH)),
    Card("t4", "Tesla T4", 15.0, 320, 65.0, bf16=False),
    Card("l4", "L4", 22.5, 300, 121.0, Price(0.44, *RUNPOD_MARCH)),
    Card("a10", "A10", 22.5, 600, 125.0, Price(1.29, *LAMBDA)),
    Card("a40", "A40", 44.9, 696, 149.7, Price(0.44, "RunPod, Secure Cloud", "2026-08-19")),
    Card("rtxa6000", "RTX A6000", 48.0, 768, 154.8, Price(0.55, *VAST)),
    Card("l40s", "L40S", 45.0, 864, 362.0, Price(0.79, *RUNPOD)),
    Card("a100-40", "A100 40GB", 39.5, 1555, 312.0, Price(1.99, *LAMBDA)),
    Card("a100-80", "A100 80GB", 79.3, 2039, 312.0, Price(1.39, *RUNPOD)),
    Card("h100-pcie", "H100 PCIe", 79.6, 2000, 756.0, Price(1.99, *RUNPOD)),
    Card("h100", "H100 80GB", 79.6, 3350, 989.0, Price(2.69, *RUNPOD)),
    Card("h200", "H200", 140.4, 4800, 989.0, Price(3.59, *RUNPOD)),
)
_BY_KEY = {card.key: card for card in CARDS}
_PLAIN = re.compile(r"nvidia|geforce|tesla|quadro|[^a-z0-9]|gb$")
_OTHERS = {"4070tisuper": "rtx4070tis", "rtx4070tisuper": "rtx4070tis", "h100sxm": "h100",
           "a100": "a100-80", "a6000": "rtxa6000", "a10g": "a10"}  # fmt: skip


def _plain(name: str) -> str:
    return _PLAIN.sub("", name.lower().strip())


def find(name: str) -> Card:
    """A card by its key, name or number: `rtx4090`, `RTX 4090`, `4090`. Raises BadInput."""
    wanted = _plain(name)
    known = {_plain(card.key): card for card in CARDS}
    known |= {_plain(card.name): card for card in CARDS}
    known |= {plain.removeprefix("rtx"): card for plain, card in list(known.items())}
    known |= {plain: _BY_KEY[key] for plain, key in _OTHERS.items()}
    if wanted in known:
        return known[wanted]
    near = [known[plain].key for plain in difflib.get_close_matches(wanted, known, 3, 0.5)]
    hint = f"Did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
    raise BadInput(
        f"There is no card {name} in the table.",
        f"{hint}Known: {', '.join(_BY_KEY)}. On the machine itself leave --gpu away.",
    )


def of_device(name: str, gib: float) -> Card:
    """The card of which the driver says this name and memory, with the memory that it has here.

    One that is not in the table comes without bandwidth and rate.
    """
    plain = _plain(name)
    fitting = [
        card
        for card in CARDS
        if abs(card.memory - gib) < 0.1 * gib
        and (plain.startswith(_plain(card.key)) or plain.startswith(_plain(card.name)))
    ]
    if "a100" in plain:
        fitting = [card for card in CARDS if card.key == ("a100-80" if gib > 60 else "a100-40")]
    if "h100" in plain:
        fitting = [_BY_KEY["h100-pcie" if "pcie" in plain else "h100"]]
    if not fitting:
        return Card(plain, name, gib, None, None)
    card = max(fitting, key=lambda card: len(card.key))
    return Card(card.key, name, gib, card.bandwidth, card.rate, card.price, card.bf16)


def price(card: Card | None, per_hour: float | None = None) -> Price | None:
    """What an hour of it costs: `per_hour` where given, else the table's; None where neither says.
    `card`: None on a CPU.

    Raises BadInput for a price under zero or none at all.
    """
    if per_hour is None:
        return card.price if card else None
    if not 0 <= per_hour < 1000:
        raise BadInput(f"A price of {per_hour:g} an hour is none.", "Give dollars an hour, as 0.4.")
    return Price(per_hour, "as given")
