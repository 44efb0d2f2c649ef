"""`chat`: one question, or a dialogue, by the same template and decoding as the probes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from appliance.console import console
from appliance.disk import read_json
from appliance.errors import BadInput, RunError
from appliance.model import adapter
from appliance.model.chat import Answer, generate
from appliance.model.load import base_of, open_model
from appliance.run import RunDir
from appliance.sections.source import ModelSection

Messages = list[dict[str, str]]


def voice(target: str, *, base: bool) -> Model | GgufFile:
    """Whoever answers for `target`: a run, or any form that it exports, or any other model.

    Raises ModelError, RunError.
    """
    if target.endswith(".gguf"):
        return GgufFile(Path(target))
    return Model(target, base=base)


class Model:
    """A run's model, one in a folder or of the hub, or a PEFT adapter's."""

    def __init__(self, target: str, *, base: bool) -> None:
        run, folder = RunDir(target), Path(target)
        is_run = run.recipe_file.is_file()
        self.strength = ExitStack()  # held as long as this is: let go, the scale would go back
        if is_run:
            if not base and not run.adapter.is_dir():  # written aside, so it is whole or not there
                raise RunError(
                    f"{target} has no adapter yet.", "Finish it with `train --run`, or use --base."
                )
            section = run.recipe().model
        elif (folder / "adapter_config.json").is_file():
            section = ModelSection(name=base_of(folder)["base_model_name_or_path"], bits=16)
        else:
            section = ModelSection(name=target, bits=16)
        self.loaded = open_model(section)
        if base:
            return
        if is_run:
            adapter.attach_saved(self.loaded, run.adapter)
            dial = read_json(run.dial) if run.dial.is_file() else {"chosen": None}
            if dial["chosen"] not in (None, 1):  # as it is exported
                self.strength.enter_context(adapter.scaled(self.loaded, dial["chosen"]))
        elif section.name != target:
            adapter.attach_saved(self.loaded, folder)

    def answer(self, messages: Messages, tokens: int) -> Answer:
        return generate(self.loaded, [messages], tokens)[0]


class GgufFile:
    """A GGUF file, by llama.cpp and the template in the file."""

    ROOM = 4096  # tokens of a dialogue

    def __init__(self, path: Path) -> None:
        from appliance.export.llamacpp import Gguf

        if not path.is_file():
            raise BadInput(f"There is no file {path}.", "Name a run, a model, or a GGUF file.")
        self.model = Gguf(str(path), self.ROOM)

    def answer(self, messages: Messages, tokens: int) -> Answer:
        from transformers.utils.chat_template_utils import render_jinja_template

        rendered, _ = render_jinja_template(
            conversations=[messages],
            chat_template=self.model.template,
            add_generation_prompt=True,
            **self.model.marks,
        )
        room = self.ROOM - len(self.model.tokens(rendered[0]))
        if room < 1:
            raise BadInput("The dialogue is longer than can be read here.", "Begin a new one.")
        return Answer(*self.model.answer(rendered[0], min(tokens, room)))


class Talk:
    """A model that is open for questions. Raises ModelError, RunError."""

    def __init__(self, target: str, *, base: bool, system: str | None, tokens: int) -> None:
        self.voice, self.tokens = voice(target, base=base), tokens
        self.messages: Messages = []
        if system:
            self.messages.append({"role": "system", "content": system})

    def ask(self, text: str) -> dict[str, Any]:
        """Answer, and keep both turns for the next question."""
        self.messages.append({"role": "user", "content": text})
        answer = self.voice.answer(self.messages, self.tokens)
        self.messages.append({"role": "assistant", "content": answer.text})
        return {"answer": answer.text, "tokens": answer.tokens, "cut": answer.cut}

    def loop(self) -> None:
        """Until an empty line or the end of input."""
        console.say("An empty line ends.")
        while True:
            console.err.write("> ")
            console.err.flush()
            try:
                text = input().strip()
            except EOFError:
                return
            if not text:
                return
            said = self.ask(text)
            console.result(said["answer"] + (" …" if said["cut"] else ""))
