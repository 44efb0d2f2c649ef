"""The export stage: adapter and base -> export/, with the proof that it is what was trained."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.console import console
from appliance.disk import placed, placed_folder, read_json, sha256, write_json, write_text
from appliance.errors import GateRefused, ModelError, ProofFailed, RunError
from appliance.export import card, gguf, modelfile
from appliance.export.claims import Check
from appliance.export.merge import merge
from appliance.export.process import told
from appliance.export.proof import prove
from appliance.export.questions import tokenizer_of
from appliance.gate import remedies
from appliance.model.adapter import weights_file
from appliance.model.chat import render
from appliance.model.load import base_of, resolve
from appliance.recipe import Recipe
from appliance.run import RunDir, now

MARKS = {True: "ok", False: "NO", None: " ?"}  # of a claim


def export(
    run: RunDir,
    recipe: Recipe,
    *,
    strength: float | None = None,
    formats: Sequence[str] = (),
    force: bool = False,
) -> None:
    """Write the forms asked for, by default the recipe's, at `strength`: by default the recipe's,
    else as trained or as the dial found. Then prove each.

    Raises RunError when the base is not the one trained on, GateRefused when the gate said no to
    this strength and the recipe's policy refuses it, ProofFailed when a form is not what was
    trained: export/UNUSABLE says so to whoever finds it.
    """
    verdict, dial = read_json(run.verdict), read_json(run.dial)
    asked = recipe.export.strength if strength is None else strength
    scale = _allowed(run, recipe, verdict, dial["chosen"], asked, force)
    ref = resolve(recipe.model)
    trained_on = read_json(run.manifest)["model"]["sha256"]
    if trained_on and ref.digest() != trained_on:
        raise RunError(
            f"{ref.folder} is not the base that {run.root} was trained on (its weights differ).",
            "Name that base, or train anew.",
        )
    wanted = tuple(dict.fromkeys(formats or recipe.export.formats))
    forms, merged = _write(run, recipe, ref.folder, scale, wanted)
    checks = prove(run, recipe, ref.folder, scale, forms) if forms else []
    _tell(run, checks, scale)
    facts = {
        "time": now(),
        "verdict": verdict["ship"],
        "strength": scale,
        "forced": force,
        "adapter_sha256": sha256(weights_file(run.adapter)),
        "merged": merged,
        "forms": {form: str(path.relative_to(run.root)) for form, path in forms.items()},
        "files": {str(p.relative_to(run.merged.parent)): sha256(p) for p in _files(run, forms)},
    }
    if forms:
        card.write(run, recipe, ref.folder, facts)
    write_json(run.export_facts, facts)


def _files(run: RunDir, forms: dict[str, Path]) -> list[Path]:
    found = []
    for form, path in forms.items():
        found += sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        if form.startswith(gguf.PREFIX):
            found += run.gguf.glob(f"Modelfile-{form.removeprefix(gguf.PREFIX)}")
    return found


def _write(
    run: RunDir, recipe: Recipe, base: Path, strength: float, formats: tuple[str, ...]
) -> tuple[dict[str, Path], dict[str, Any]]:
    """({form: where it is}, facts of the merge). GGUF files are made of the merged model, so that
    is a form of each export that holds some."""
    forms: dict[str, Path] = {}
    facts: dict[str, Any] = {}

    def done(form: str, path: Path, said: str) -> None:
        run.export_facts.unlink(missing_ok=True)  # from here on they are another export's
        forms[form] = path
        console.say(f"  {said}")

    kinds = gguf.kinds(formats)
    if "merged" in formats or kinds:
        facts = merge(base, run.adapter, run.merged, strength)
        done("merged", run.merged, f"merged model in {run.merged}")
    if "adapter" in formats:
        done("adapter", _adapter(run, strength), f"adapter in {run.exported_adapter}")
    name = run.root.resolve().name + ("" if strength == 1 else f"-{strength:g}")
    if gguf.LORA in formats:
        path = run.gguf / f"{name}-lora.gguf"
        _lora(run, base, strength, path)
        done(gguf.LORA, path, f"{path}, for llama.cpp's --lora over the base")
    if kinds:
        files = gguf.write(run.merged, run.gguf, kinds, name)
        for kind, path in files.items():
            done(gguf.PREFIX + kind, path, f"{path} ({path.stat().st_size / 1e6:.0f} MB)")
        _modelfiles(run, recipe, base, files)
    return forms, facts


def _adapter(run: RunDir, strength: float) -> Path:
    """PEFT's form, at the strength: its scale is alpha / r, so alpha bears it."""
    config = _lora_config(run)
    if config.get("use_dora") and strength != 1:
        raise ModelError(
            "A DoRA adapter has no strength in PEFT's form.", "Export `merged`, or at strength 1."
        )
    with placed_folder(run.exported_adapter) as aside:
        for path in run.adapter.iterdir():
            shutil.copyfile(path, aside / path.name)
        if strength != 1:
            scaled = config | {"lora_alpha": config["lora_alpha"] * strength}
            write_json(aside / "adapter_config.json", scaled)
    return run.exported_adapter


def _lora(run: RunDir, base: Path, strength: float, path: Path) -> None:
    """The factors alone, for llama.cpp."""
    if _lora_config(run).get("use_dora"):
        raise ModelError("llama.cpp knows no DoRA.", "Export `merged`, or a GGUF of all of it.")
    with placed(path) as aside:
        told(
            ["-m", "appliance.export.lora", "write", str(base), str(run.adapter), repr(strength),
             str(aside)],
            "llama.cpp's converter cannot take this adapter along",
            "Export a GGUF of the whole model.",
        )  # fmt: skip


def _lora_config(run: RunDir) -> dict[str, Any]:
    """PEFT's. Raises ModelError where there are no factors."""
    if weights_file(run.adapter).name != "adapter_model.safetensors":
        raise ModelError("A full fine-tuning has no adapter.", "Export `merged`.")
    return base_of(run.adapter)


def _modelfiles(run: RunDir, recipe: Recipe, base: Path, files: dict[str, Path]) -> None:
    """One for each file, for `ollama create -f`; none where the template cannot be one of Go's."""
    tokenizer = tokenizer_of(base)
    try:
        template = modelfile.read(lambda turns, ask: render(tokenizer, turns, ask=ask))
    except ModelError as error:
        console.say(f"  no Modelfile: {error}")
        return
    for kind, path in files.items():
        text = modelfile.modelfile(
            path.name, template, [tokenizer.eos_token], recipe.data.system,
        )  # fmt: skip
        target = run.gguf / f"Modelfile-{kind}"
        write_text(target, text)
        name = path.stem.lower()
        console.say(f"  ollama create {name} -f {target} && ollama run {name}")


def _tell(run: RunDir, checks: list[Check], strength: float) -> None:
    """Write export/proof.json, and say it. Raises ProofFailed."""
    failed = [check for check in checks if check.holds is False]
    open_ = [f"{check.form}: {check.name}" for check in checks if check.holds is None]
    write_json(
        run.proof,
        {"time": now(), "strength": strength, "holds": not failed, "not_measured": open_,
         "checks": [vars(check) for check in checks]},
    )  # fmt: skip
    for check in checks:
        console.say(f"  {MARKS[check.holds]}  {check.form}: {check.text}")
    if not failed:
        run.unusable.unlink(missing_ok=True)
        return
    said = "; ".join(f"{check.form}: {check.text}" for check in failed)
    write_text(run.unusable, f"The proof failed, see proof.json. {said}\n")
    raise ProofFailed(
        f"What was exported to {run.unusable.parent} is not what was trained: {said}.",
        "Do not serve it. Export it again; a kind of GGUF with more bits loses less.",
    )


def _allowed(
    run: RunDir,
    recipe: Recipe,
    verdict: dict[str, Any],
    chosen: float | None,
    asked: float | None,
    force: bool,
) -> float:
    """The strength to merge at. `chosen`: the strongest that passes the gate."""
    scale = asked if asked is not None else 1.0 if chosen is None else chosen
    passes = verdict["ship"] == "yes" or (chosen is not None and scale == chosen)
    if passes or force or recipe.policy.action == "warn":
        return scale
    broken = " ".join(r["text"] for r in verdict["reasons"] if r["passed"] == "no")
    if chosen is not None:
        raise GateRefused(
            f"The verdict of {run.root} at strength {scale:g} is no: {broken}",
            f"At strength {chosen:g} it passes: leave --strength away, or --force it.",
        )
    left = " ".join(f"{n}. {text}" for n, text in enumerate(remedies(recipe, verdict), 1))
    raise GateRefused(
        f"The verdict of {run.root} is no, at every strength that was tried: {broken}",
        f"What is left: {left} Or `export --force` to ship it all the same.",
    )
