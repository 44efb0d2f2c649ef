"""The alarms that only DPO can raise."""

from __future__ import annotations

import math

from appliance.train.finding import SMOOTH, Alarm, Finding, Mean, Record

CHOSEN_FALL = 10.0  # nats by which a whole chosen answer got less likely than under the base
ALWAYS_RIGHT = 0.99  # share of pairs; nothing that has to be learned is right so soon
AT_ONCE, AT_LEAST = 0.1, 5  # the first share of the steps, and steps in a row


class ChosenFalls(Alarm):
    """DPO: chosen and rejected answers fall together ("likelihood displacement").

    Rewards are beta times the change of an answer's log-probability against the base. Pal et al.
    2024 (Smaug, arXiv 2402.13228) and Razin et al. 2024 (arXiv 2410.08847) describe the failure;
    the level of CHOSEN_FALL nats for a whole answer is ours.
    """

    name = "chosen_falls"

    def __init__(self, beta: float, steps: int) -> None:
        self.beta = beta
        self.chosen, self.rejected = Mean(min(SMOOTH, steps)), Mean(min(SMOOTH, steps))

    def look(self, record: Record) -> Finding | None:
        if "rewards/chosen" not in record:
            return None
        self.chosen.add(record["rewards/chosen"] / self.beta)
        self.rejected.add(record["rewards/rejected"] / self.beta)
        chosen, rejected = self.chosen.value, self.rejected.value
        if not self.chosen.full or max(chosen, rejected) > -CHOSEN_FALL:
            return None
        text = (
            f"At step {record['step']:.0f} the chosen answers are {-chosen:.1f} nats less likely "
            f"than under the base, the rejected ones {-rejected:.1f}: it unlearns both, and "
            "something else gets likelier. Lower train.learning_rate, or train by SFT on the "
            "chosen answers first."
        )
        return Finding(self.name, text, {"chosen": chosen, "rejected": rejected})


class MarginOver(Alarm):
    """DPO: the smoothed reward margin explodes."""

    name = "margin_over"

    def __init__(self, level: float, steps: int) -> None:
        self.level, self.window = level, Mean(min(SMOOTH, steps))

    def look(self, record: Record) -> Finding | None:
        if "rewards/margins" not in record:
            return None
        self.window.add(record["rewards/margins"])
        margin = self.window.value
        if not self.window.full or margin <= self.level:
            return None
        text = (
            f"The reward margin is {margin:.1f} at step {record['step']:.0f} (level "
            f"{self.level:g}): the pairs are told apart far beyond need, at the base's cost. "
            "Lower train.learning_rate or train.epochs."
        )
        return Finding(self.name, text, {"margin": margin, "level": self.level})


class AccuracyAtOnce(Alarm):
    """DPO: nearly every pair is right from the first steps on."""

    name = "accuracy_at_once"

    def __init__(self, steps: int) -> None:
        # At step 1 nothing is learned yet and every margin is zero.
        self.until = max(AT_LEAST + 1, math.ceil(AT_ONCE * steps))
        self.window = Mean(AT_LEAST)

    def look(self, record: Record) -> Finding | None:
        if "rewards/accuracies" not in record or record["step"] > self.until:
            return None
        self.window.add(record["rewards/accuracies"])
        right = self.window.value
        if not self.window.full or right < ALWAYS_RIGHT:
            return None
        text = (
            f"{right:.0%} of the pairs are right by step {record['step']:.0f} already: chosen and "
            "rejected differ by something trivial, such as length or a fixed phrase. Look at the "
            "audit, and at some pairs."
        )
        return Finding(self.name, text, {"accuracy": right})
