"""What the base says of the general rows: asked once before training, and kept between runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from appliance.console import console
from appliance.disk import placed
from appliance.errors import NoSpace, RunError
from appliance.home import code, home, only_newest
from appliance.model import backend
from appliance.model.adapter import switched_off
from appliance.model.at_once import Group, ask_all, batches
from appliance.model.chat import Encoded
from appliance.model.likelihood import bearing, bearing_logits, block
from appliance.model.load import Loaded
from appliance.train import processes

if TYPE_CHECKING:
    from appliance.train.anchor import Turn

MOST = 2**29  # bytes of the base's hidden states that are kept
KEPT = 8  # of them between runs, the newest


@dataclass
class BaseSays:
    """What the base says at each row's places with loss: log-probabilities.

    The hidden states before its output layer are kept, which are a hundred times smaller than what
    it makes of them, also for the next run that rehearses the same. `direct`: is the output layer
    all that stands behind them? It is not in models that cap or scale their logits; there, and
    where they are more than MOST, none are kept.
    """

    loaded: Loaded
    hidden: dict[int, Any] = field(default_factory=dict)
    direct: bool = False

    def ask(self, rows: Sequence[Encoded], keep: bool) -> None:
        """Once for all rows, in batches of like length."""
        self.direct = self._is_direct(rows[0])
        size = self.loaded.model.config.hidden_size
        if not (keep and self.direct) or 2 * size * sum(row.bearing for row in rows) > MOST:
            return
        # A dialogue that is taken again stands in `rows` again.
        first: dict[tuple[int, ...], int] = {}
        same = [first.setdefault(tuple(row.input_ids), i) for i, row in enumerate(rows)]
        once = sorted(set(same))
        found = dict(zip(once, self._kept([rows[i] for i in once]), strict=True))
        self.hidden = {row: found[i] for row, i in enumerate(same)}

    def _kept(self, rows: Sequence[Encoded]) -> list[Any]:
        """Of each row, [its places, hidden size]: out of the cache, or asked and put there."""
        import safetensors
        from safetensors.torch import save_file

        path = home() / "base_says" / f"{self._key(rows)}.safetensors"
        if path.is_file():
            try:
                with safetensors.safe_open(path, "pt") as file:
                    return [file.get_tensor(str(place)) for place in range(len(rows))]
            except (OSError, safetensors.SafetensorError):
                console.say("  what was kept of the base is damaged: it is asked again")
        found = self._asked(rows)
        if processes.number():
            return found  # one of them keeps it for all
        try:
            with placed(path) as aside:
                save_file({str(place): one for place, one in enumerate(found)}, aside)
        except (NoSpace, RunError):
            console.say("  the cache cannot be written, so the base is asked anew next time")
        only_newest(path.parent, KEPT)
        return found

    def _key(self, rows: Sequence[Encoded]) -> str:
        """Everything that decides what it says to the last bit."""
        facts = [
            self.loaded.ref.digest(),
            sorted({str(weight.dtype) for weight in self.loaded.model.parameters()}),
            [(row.input_ids, row.labels) for row in rows],
            backend.versions(),
            backend.machine(),
            code(),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]

    def _asked(self, rows: Sequence[Encoded]) -> list[Any]:
        found: dict[int, Any] = {}
        with console.progress("base", len(rows)) as bar:

            def ask(group: Group) -> None:
                inputs, labels = block([rows[i] for i in group], self.loaded.tokenizer)
                _, hidden = self._logits(self.loaded.model, inputs, labels)
                owner, _ = bearing(labels)
                found.update({i: hidden[owner == place].cpu() for place, i in enumerate(group)})
                bar.advance(len(group))

            ask_all(batches([len(row.input_ids) for row in rows], 4096, 32), ask)
        return [found[place] for place in range(len(rows))]

    def _is_direct(self, row: Encoded) -> bool:
        logits, hidden = self._logits(self.loaded.model, *block([row], self.loaded.tokenizer))
        again = self.loaded.model.get_output_embeddings()(hidden)
        return bool(backend.torch().allclose(logits.float(), again.float()))

    def of(self, model: Any, turn: Turn) -> Any:
        """[n, vocabulary], fp32."""
        torch = backend.torch()
        if not self.hidden:
            logits, _ = self._logits(model, turn.riders.inputs, turn.labels)
        else:
            hidden = torch.cat([self.hidden[row] for row in turn.rows]).to(turn.labels.device)
            with torch.no_grad():
                logits = model.get_output_embeddings()(hidden)
        return logits.float().log_softmax(-1)

    def _logits(self, model: Any, inputs: dict[str, Any], labels: Any) -> tuple[Any, Any]:
        with backend.torch().no_grad(), switched_off(self.loaded):
            found: tuple[Any, Any] = bearing_logits(model, inputs, labels)
        return found
