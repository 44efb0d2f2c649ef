"""The same rows through several trainers, one process each: for cpu.py and gpu.py.

trl        transformers, bitsandbytes, PEFT and TRL's SFTTrainer, as their documentation has them
           (on a CPU with transformers' loss: TRL's own needs Triton)
unsloth    an Unsloth script, as its documentation has it
appliance  this project, with nothing beside the task's rows
default    this project as it comes: general rows and the KL to the base beside each step

The same rows, rank, alpha, rate, schedule, effective batch and steps. A step's time is from its
begin to its end, the first one left out (it allocates and compiles), so neither starts nor
measurements count; the process's whole time stands beside it. Loss-bearing tokens are those of the
rows' answers, the same number for all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


@dataclass(frozen=True)
class Job:
    """One trainer on one model. `rows`: a run whose data stage is done.

    micro: rows at once of the peers; the project finds its own. `checkpointing`: activations are
    computed again in the backward pass. `memory_gib`: of a GPU's, all that may be taken.
    """

    trainer: str
    folder: str
    model: str
    rows: str
    steps: int
    micro: int
    checkpointing: bool = False
    max_length: int = 2048
    memory_gib: float | None = None
    profile: bool = False

    @property
    def place(self) -> Path:
        return Path(self.folder)

    def recipe(self, *more: str) -> Any:
        """The default one; its values are those of all trainers."""
        from appliance.recipe import load

        sets = [f"train.max_steps={self.steps}", "train.patience=0", "train.evaluations=0",
                f"model.name={self.model}", f"model.max_length={self.max_length}"]  # fmt: skip
        return load("sft", [*sets, *more])

    def dialogues(self) -> list[list[dict[str, str]]]:
        from appliance.data.rows import read_rows
        from appliance.run import RunDir

        return [list(row.messages) for row in read_rows(RunDir(self.rows).train_rows)]

    def arguments(self) -> dict[str, Any]:
        """What all trainers share, under transformers' names."""
        train = self.recipe().train
        return {
            "output_dir": str(self.place / "trainer"),
            "per_device_train_batch_size": self.micro,
            "gradient_accumulation_steps": train.batch_size // self.micro,
            "max_steps": self.steps,
            "learning_rate": train.learning_rate,
            "lr_scheduler_type": train.schedule,
            "lr_scheduler_kwargs": {"num_decay_steps": round(0.3 * self.steps)},
            "warmup_steps": round(train.warmup_share * self.steps),
            "weight_decay": train.weight_decay,
            "seed": train.seed,
            "optim": "adamw_8bit" if on_gpu() else "adamw_torch_fused",
            "bf16": half(),
            "use_cpu": not on_gpu(),
            "save_strategy": "no",
            "logging_steps": 1,
            "report_to": "none",
            "disable_tqdm": True,
        }


def on_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def half() -> bool:
    """In bf16, or in fp32 where a CPU would only emulate it: every trainer the same."""
    from appliance.plan.time import this_cpu

    return on_gpu() or this_cpu(1).width == 2


def trl(job: Job) -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, Trainer
    from trl import SFTConfig, SFTTrainer

    class OnCpu(SFTTrainer):
        """TRL 1.15's own loss is a Triton kernel; transformers' takes its place."""

        def compute_loss(self, *given: Any, **named: Any) -> Any:
            return Trainer.compute_loss(self, *given, **named)

    adapter, kind = job.recipe().adapter, torch.bfloat16 if half() else torch.float32
    model = AutoModelForCausalLM.from_pretrained(
        job.model,
        dtype=kind,
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=kind,
        ),
    )
    rows = [{"prompt": row[:-1], "completion": row[-1:]} for row in job.dialogues()]
    trainer = (SFTTrainer if on_gpu() else OnCpu)(
        model=model,
        args=SFTConfig(
            **job.arguments(),
            gradient_checkpointing=job.checkpointing,
            max_length=job.max_length,
            completion_only_loss=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(job.model),
        peft_config=LoraConfig(
            r=adapter.r,
            lora_alpha=adapter.alpha,
            lora_dropout=0.0,
            target_modules=list(adapter.target_modules),
            task_type="CAUSAL_LM",
        ),
    )
    trainer.train()
    trainer.model.save_pretrained(job.place / "adapter")


def unsloth(job: Job) -> None:
    from unsloth import FastLanguageModel  # first: it patches the others
    from unsloth.chat_templates import train_on_responses_only

    # isort: split
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    found = job.recipe()
    again = "unsloth" if job.checkpointing else False
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=job.model,
        max_seq_length=job.max_length,
        load_in_4bit=True,
        use_gradient_checkpointing=again,
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=found.adapter.r,
        lora_alpha=found.adapter.alpha,
        lora_dropout=0,
        bias="none",
        target_modules=list(found.adapter.target_modules),
        use_gradient_checkpointing=again,
        random_state=found.train.seed,
    )
    texts = [tokenizer.apply_chat_template(row, tokenize=False) for row in job.dialogues()]
    trainer = SFTTrainer(
        model=model,
        tokenizer=tokenizer,
        train_dataset=Dataset.from_list([{"text": text} for text in texts]),
        args=SFTConfig(
            **job.arguments(),
            gradient_checkpointing=job.checkpointing,
            max_length=job.max_length,
            dataset_text_field="text",
        ),
    )
    trainer = train_on_responses_only(
        trainer,
        instruction_part="<|im_start|>user\n",
        response_part="<|im_start|>assistant\n",
    )
    trainer.train()
    model.save_pretrained(job.place / "adapter")


def default(job: Job, *more: str) -> None:
    from appliance.model import backend
    from appliance.pipeline import Order, go
    from appliance.run import RunDir

    backend.unsloth()
    found = job.recipe(*more)
    run = RunDir(job.place / "run")
    run.create(found)
    run.take_data(RunDir(job.rows))
    go(run, found, Order(only=("rehearse", "train")))
    run.adapter.rename(job.place / "adapter")


TRAINERS: dict[str, Callable[[Job], None]] = {
    "trl": trl,
    "unsloth": unsloth,
    "appliance": lambda job: default(job, "rehearsal.self=false"),
    "default": default,
}


class Clock:
    """The seconds of each step of any trainer of transformers in this process."""

    def __init__(self, profile: bool) -> None:
        from transformers import TrainerCallback, trainer

        clock = self
        self.seconds: list[float] = []
        self.profiler: Any = None

        class Ticks(TrainerCallback):
            def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if profile and state.global_step == 2:
                    clock.start_profiler()
                clock.begun = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                if on_gpu():
                    import torch

                    torch.cuda.synchronize()
                clock.seconds.append(time.perf_counter() - clock.begun)

            def on_train_end(self, *_: Any, **__: Any) -> None:
                if clock.profiler:
                    clock.profiler.stop()

        trainer.DEFAULT_CALLBACKS.append(Ticks)

    def start_profiler(self) -> None:
        from torch.profiler import ProfilerActivity, profile

        self.profiler = profile(activities=[ProfilerActivity.CPU])
        self.profiler.start()

    def operations(self) -> list[dict[str, Any]]:
        """What the steps from the third on spend their processor time on."""
        found = self.profiler.key_averages()
        whole = sum(one.self_cpu_time_total for one in found)
        found.sort(key=lambda one: -one.self_cpu_time_total)
        steps = len(self.seconds) - 2
        return [
            {
                "operation": one.key,
                "share": round(one.self_cpu_time_total / whole, 3),
                "calls_per_step": round(one.count / steps),
            }
            for one in found[:16]
        ]


def tokens(job: Job) -> tuple[float, float]:
    """(all, loss-bearing) of one row, on average."""
    from transformers import AutoTokenizer

    from appliance.model.chat import encode

    tokenizer = AutoTokenizer.from_pretrained(job.model)
    rows = [encode(tokenizer, row, job.max_length) for row in job.dialogues()]
    every, bearing = (sum(len(r.input_ids) for r in rows), sum(r.bearing for r in rows))
    return every / len(rows), bearing / len(rows)


def here(job: Job) -> dict[str, Any]:
    """The job in this process: pace, memory, and where its time goes if it is profiled."""
    started = time.monotonic()
    if job.memory_gib:
        import torch

        whole = torch.cuda.get_device_properties(0).total_memory / 2**30
        torch.cuda.set_per_process_memory_fraction(job.memory_gib / whole)
    if job.trainer != "trl":
        import_module("unsloth")  # before transformers, which the clock imports
    clock = Clock(job.profile)
    job.place.mkdir(parents=True)
    TRAINERS[job.trainer](job)
    spent = time.monotonic() - started
    from appliance.memory import resident_peak

    peak = resident_peak() / 2**30
    if on_gpu():
        import torch

        peak = torch.cuda.max_memory_reserved() / 2**30
    step = sum(clock.seconds[1:]) / len(clock.seconds[1:])
    every, bearing = (count * job.recipe().train.batch_size for count in tokens(job))
    return {
        "steps": len(clock.seconds),
        "seconds_per_step": round(step, 3),
        "tokens_per_second": round(every / step, 1),
        "loss_bearing_tokens_per_second": round(bearing / step, 1),
        "seconds_of_the_first_step": round(clock.seconds[0], 2),
        "seconds_to_the_end_of_training": round(spent, 1),
        "peak_memory_gib": round(peak, 2),
    } | ({"operations": clock.operations()} if job.profile else {})


def alone(job: Job) -> dict[str, Any]:
    """The job in a process of its own; {"failed": why} where it does not end."""
    print(f"{job.trainer} …", file=sys.stderr, flush=True)
    log = job.place.with_suffix(".log")
    with log.open("w") as handle:
        done = subprocess.run(
            [sys.executable, __file__, json.dumps(asdict(job))],
            stdout=subprocess.PIPE, stderr=handle, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        said = log.read_text().strip().splitlines() or ["nothing"]
        print("\n".join(said[-30:]), file=sys.stderr)
        return {"failed": said[-1][:300]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    print(json.dumps(here(Job(**json.loads(sys.argv[1])))))
