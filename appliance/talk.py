"""`chat`: one question, or a dialogue, by the same template and decoding as the probes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from appliance.console import console
from appliance.disk import read_json
from appliance.errors import RunError
from appliance.model import adapter
from appliance.model.chat import generate
from appliance.model.load import open_model
from appliance.run import RunDir
from appliance.sections.source import ModelSection


class Talk:
    """A model that is open for questions. Raises ModelError, RunError."""

    def __init__(self, target: str, *, base: bool, system: str | None, tokens: int) -> None:
        run = RunDir(target)
        self.strength = ExitStack()  # held as long as this is: let go, the scale would go back
        if run.recipe_file.is_file():
            if not base and not run.adapter.is_dir():  # written aside, so it is whole or not there
                raise RunError(
                    f"{target} has no adapter yet.", "Finish it with `train --run`, or use --base."
                )
            section = run.recipe().model
        else:
            section = ModelSection(name=target, bits=16)
        self.loaded = open_model(section)
        if run.recipe_file.is_file() and not base:
            adapter.attach_saved(self.loaded, run.adapter)
            dial = read_json(run.dial) if run.dial.is_file() else {"chosen": None}
            if dial["chosen"] not in (None, 1):  # as it is exported
                self.strength.enter_context(adapter.scaled(self.loaded, dial["chosen"]))
        self.tokens = tokens
        self.messages: list[dict[str, str]] = []
        if system:
            self.messages.append({"role": "system", "content": system})

    def ask(self, text: str) -> dict[str, Any]:
        """Answer, and keep both turns for the next question."""
        self.messages.append({"role": "user", "content": text})
        answer = generate(self.loaded, [self.messages], self.tokens)[0]
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
