"""Ollama's template says what the tokenizer's says, for the forms that chat templates have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

from appliance.errors import ModelError
from appliance.export.modelfile import TRIED, modelfile, read

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if ask %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DEFAULT = (
    "{% for m in messages %}{% if loop.first and messages[0].role != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if ask %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HEADERS = (
    "{{ '<|begin|>' }}{% for m in messages %}"
    "{{ '<|head|>' + m.role + '<|/head|>\n\n' + m.content + '<|eot|>' }}{% endfor %}"
    "{% if ask %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ refuse() }}{% endif %}"
    "{{ '<turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{{ m.content + '</turn>\n' }}"
    "{% endfor %}{% if ask %}{{ '<turn>model\n' }}{% endif %}"
)
BRACKETS = (
    "{{ '<s>' }}{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% elif m.role == 'system' %}{{ refuse() }}{% else %}{{ ' ' + m.content + '</s>' }}{% endif %}"
    "{% endfor %}"
)
PLAIN = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content + '\n\n' }}"
    "{% elif m.role == 'user' %}{{ 'User: ' + m.content + '\n' }}"
    "{% else %}{{ 'Assistant: ' + m.content + '</s>\n' }}{% endif %}{% endfor %}"
    "{% if ask %}{{ 'Assistant:' }}{% endif %}"
)


def render(text):
    def refuse():
        raise ModelError("no system turn here.")

    template = jinja2.Environment().from_string(text)
    return lambda messages, ask: template.render(messages=messages, ask=ask, refuse=refuse)


TEMPLATES = (CHATML, DEFAULT, HEADERS, NO_SYSTEM, BRACKETS, PLAIN)


@pytest.mark.parametrize(
    "text", TEMPLATES,
    ids=["chatml", "default system", "headers", "no system", "brackets", "plain"],
)  # fmt: skip
def test_dialogues_are_rendered_as_the_tokenizer_does(text):
    found, own = read(render(text)), render(text)
    for messages in TRIED:
        if messages[0]["role"] == "system" and text in (NO_SYSTEM, BRACKETS):
            continue
        assert found.rendered(messages) == own(messages, True)


GO = """
import json, sys
from go_template import render_template
for template, values, out in json.load(sys.stdin):
    render_template(template, values, out)
"""


def test_go_itself_renders_what_the_tokenizer_does(tmp_path):
    """Its text/template, which Ollama renders by, in a process of its own."""
    cases = []
    for number, text in enumerate(TEMPLATES):
        found, own = read(render(text)), render(text)
        for messages in TRIED:
            if messages[0]["role"] == "system" and text in (NO_SYSTEM, BRACKETS):
                continue
            turns = list(messages)
            if found.system is not None and turns[0]["role"] != "system":
                turns.insert(0, {"role": "system", "content": found.system})  # by SYSTEM
            said = [{"Role": turn["role"], "Content": turn["content"]} for turn in turns]
            stem = f"{number}-{len(cases)}"
            template, values, out = (tmp_path / f"{stem}.{end}" for end in ("t", "yml", "out"))
            template.write_text(found.go())
            values.write_text(json.dumps({"Messages": said}))
            cases.append(([str(template), str(values), str(out)], own(messages, True)))
    words = json.dumps([files for files, _ in cases])
    subprocess.run([sys.executable, "-c", GO], input=words, text=True, check=True)
    for files, expected in cases:
        assert Path(files[2]).read_text() == expected
    assert len(cases) > 12


def test_what_the_template_says_without_a_system_turn_becomes_the_system_prompt():
    found = read(render(DEFAULT))
    assert found.system == "You help."
    assert 'SYSTEM """You help."""' in modelfile("m.gguf", found, [], None)
    assert 'SYSTEM """Sort it."""' in modelfile("m.gguf", found, [], "Sort it.")


def test_the_go_template_has_every_turn_and_quotes_what_go_would_read():
    text = CHATML.replace("<|im_end|>", '{{"\\\\')
    go = read(render(text)).go()
    assert go.startswith(
        '{{ range .Messages }}{{ if eq .Role "system" }}{{ "<|im_start|>system\\n" }}'
    )
    assert '{{ .Content }}{{ "{{\\"\\\\\\n" }}' in go
    assert go.endswith('{{ end }}{{ end }}{{ "<|im_start|>assistant\\n" }}')


def test_the_modelfile_names_the_file_and_the_stops():
    text = modelfile("m.gguf", read(render(CHATML)), ["<|im_end|>"], None)
    assert text.startswith("FROM ./m.gguf\nTEMPLATE ")
    assert 'PARAMETER stop "<|im_end|>"\n' in text
    assert "SYSTEM" not in text


def test_a_template_that_depends_on_more_than_the_roles_is_refused():
    numbered = "{% for m in messages %}{{ loop.index ~ m.role ~ m.content }}{% endfor %}"
    with pytest.raises(ModelError, match="cannot be written"):
        read(render(numbered))


def test_a_template_that_changes_what_is_said_is_refused():
    with pytest.raises(ModelError, match="changes what is said"):
        read(render("{% for m in messages %}{{ m.content[::-1] }}{% endfor %}"))
