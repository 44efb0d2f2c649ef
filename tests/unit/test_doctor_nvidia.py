"""The doctor and NVIDIA: drivers, cards, wheels, and an nvidia-smi of our own making."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.doctor import look, nvidia
from appliance.doctor.checks import Line
from appliance.doctor.nvidia import Card, Gpu

HEADER = "| NVIDIA-SMI 580.82.07   Driver Version: 580.82.07   CUDA Version: 13.0 |"
GPUS = "0, NVIDIA GeForce RTX 4090, 580.82.07, 8.9, 24564, 24100\n"
GPU = Gpu("0", "NVIDIA GeForce RTX 4090", "580.82.07", 89, 24564, 24100)
CARD = Card((GPU,), "13.0", (), "", True)
CU130 = nvidia.wheel_arches("13.0", "x86_64")


def statuses(lines: list[Line]) -> dict[str, str]:
    return {line.name: line.status for line in lines}


def test_nvidia_smi_is_read() -> None:
    card = look.read_card(False, HEADER, GPUS, "/usr/bin/python3, 812\n[Not Found], 40\n")
    assert card == replace(CARD, holders=("python3 (812 MiB)", "[Not Found] (40 MiB)"))


def test_fields_that_a_card_does_not_have_are_none() -> None:
    (gpu,) = nvidia.read_gpus("0, NVIDIA GB10, 580.95.05, 12.1, [N/A], [N/A]\n")
    assert (gpu.capability, gpu.total, gpu.free) == (121, None, None)
    assert nvidia.check_gpu_memory(gpu, ()).status == "ok"


def test_no_gpu_is_fine() -> None:
    assert statuses(nvidia.check_gpu(look.read_card(False, "", "No devices were found", ""))) == {
        "gpu": "ok"
    }


def test_a_card_without_a_driver_says_gpus_all() -> None:
    (line,) = nvidia.check_gpu(Card(on_bus=True))
    assert line.status == "warn"
    assert "--gpus all" in line.do


@pytest.mark.parametrize(("on_bus", "status"), [(True, "fail"), (False, "warn")])
def test_a_driver_that_does_not_answer_is_told_in_its_own_words(on_bus: bool, status: str) -> None:
    said = "Failed to initialize NVML: Driver/library version mismatch\n"
    (line,) = nvidia.check_gpu(look.read_card(on_bus, said, said, said))
    assert (line.name, line.status) == ("driver", status)
    assert "mismatch" in line.found


def test_cuda_visible_devices_chooses_and_hides() -> None:
    both = (GPU, replace(GPU, index="1", name="NVIDIA L4"))
    assert nvidia.chosen(both, None) == both
    assert nvidia.chosen(both, "1,0")[0].name == "NVIDIA L4"
    assert nvidia.chosen(both, "GPU-1f2e") == both
    assert nvidia.chosen(both, "") == nvidia.chosen(both, "-1") == ()
    assert statuses(nvidia.check_gpu(CARD, "-1")) == {"driver": "ok", "gpu": "warn"}


@pytest.mark.parametrize(
    ("capability", "arches", "status"),
    [
        (89, CU130, "ok"),  # code for 8.6 runs on it
        (103, CU130, "ok"),
        (120, CU130, "ok"),
        (61, CU130, "fail"),  # a GTX 1080
        (70, CU130, "fail"),  # a V100: CUDA 13 has dropped it
        (70, nvidia.wheel_arches("12.6", "x86_64"), "ok"),
        (61, nvidia.wheel_arches("12.6", "x86_64"), "fail"),  # code is there, Triton has none
        (120, nvidia.wheel_arches("12.6", "x86_64"), "fail"),  # a new card, old wheels, no PTX
        (130, CU130, "warn"),  # compiled at the first start
        (110, CU130, "fail"),
        (110, nvidia.wheel_arches("13.0", "aarch64"), "ok"),
        (75, [], "ok"),  # wheels that are not in the table
        (61, [], "fail"),
        (None, CU130, "warn"),
    ],
)
def test_cards_too_old_or_too_new_are_named(
    capability: int | None, arches: list[str], status: str
) -> None:
    line = nvidia.check_capability(replace(GPU, capability=capability), arches)
    assert line.status == status
    assert status != "fail" or GPU.name in line.found


def test_gpu_memory_names_who_holds_it() -> None:
    assert nvidia.check_gpu_memory(GPU, ()).status == "ok"
    line = nvidia.check_gpu_memory(replace(GPU, free=2000), ("python3 (22000 MiB)",))
    assert line.status == "warn"
    assert "python3 (22000 MiB)" in line.found
    assert "container" in nvidia.check_gpu_memory(replace(GPU, free=2000), ()).found
    assert "small" in nvidia.check_gpu_memory(replace(GPU, total=3000, free=2900), ()).do


@pytest.mark.parametrize(
    ("cuda", "driver", "known", "status"),
    [
        ("13.0", "580.82.07", "13.0", "ok"),
        ("13.2", "580.82.07", "13.0", "ok"),  # minor versions do not matter
        ("12.6", "580.82.07", "13.0", "ok"),
        ("13.0", "550.54.15", "12.4", "fail"),
        ("13.0", "550.54.15", "", "fail"),
        ("13.0", "535.183.01", "13.0", "ok"),  # with NVIDIA's compatibility package
    ],
)
def test_a_driver_too_old_for_torch_is_told_which_to_install(
    cuda: str, driver: str, known: str, status: str
) -> None:
    card = replace(CARD, gpus=(replace(GPU, driver=driver),), cuda=known)
    line = nvidia.check_torch("2.13.0", cuda, card)
    assert line.status == status
    assert status == "ok" or "driver 580" in line.do


def test_a_cpu_torch_fails_only_where_there_is_a_gpu() -> None:
    assert nvidia.check_torch("2.13.0+cpu", None, CARD).status == "fail"
    assert nvidia.check_torch("2.13.0+cpu", None, Card()).status == "ok"
    assert nvidia.check_torch("2.13.0", "13.0", Card()).status == "ok"


WELL = {"torch": "2.13.0", "device": "cuda", "seconds": 11.2, "gap": 0.0729}


@pytest.mark.parametrize(
    ("facts", "bad"),
    [
        (WELL, {}),
        ({"late": True}, {"unsloth": "warn"}),
        ({"error": "ImportError: no"}, {"unsloth": "fail"}),
        ({}, {"unsloth": "fail"}),
        (WELL | {"device": "cpu", "no_cuda": "RuntimeError: old"}, {"torch and gpu": "fail"}),
        (WELL | {"gap": 0.9}, {"nf4": "fail"}),
        (
            {"device": "cuda", "nf4_error": "RuntimeError: no kernel image", "seconds": 9},
            {"nf4": "fail"},
        ),
    ],
)
def test_what_the_second_process_found_is_judged(facts: dict, bad: dict[str, str]) -> None:
    lines = nvidia.check_probe(facts, gpu=True)
    assert {n: s for n, s in statuses(lines).items() if s != "ok"} == bad


def fake_smi(folder: Path, script: str) -> None:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch) -> Path:
    """A folder to run in, whose nvidia-smi is ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def test_a_gpu_beside_a_cpu_torch_ends_with_one(machine: Path, monkeypatch) -> None:
    script = f'case "$1" in *gpu=*) echo "{GPUS.strip()}";; "") echo "{HEADER}";; esac'
    fake_smi(machine, script)
    monkeypatch.setattr(look, "torch_build", lambda: None)
    done = CliRunner().invoke(main, ["doctor", "--quick", "--json"])
    assert done.exit_code == 1, done.output
    facts = json.loads(done.stdout)
    lines = {line["name"]: line for line in facts["lines"]}
    assert facts["ok"] is False
    assert lines["torch"]["status"] == "fail"
    assert "cuda.txt" in lines["torch"]["do"]
    assert lines["capability"]["found"] == "8.9"
    assert lines["driver"]["found"] == "580.82.07, CUDA 13.0"
    assert [path.name for path in machine.iterdir()] == ["nvidia-smi"]


def test_an_nvidia_smi_that_hangs_is_not_waited_for(machine: Path) -> None:
    fake_smi(machine, "exec sleep 9")
    assert "does not answer within 0.2 s" in look.card(0.2).trouble
