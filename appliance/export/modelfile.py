"""Ollama's Modelfile of a GGUF file: the chat template, its stops, and the system prompt.

Ollama renders Go templates, and the model's own is one of Jinja. Which text stands around each turn
is read off the tokenizer's own rendering; that is all there is to nearly every chat template. The
proof renders dialogues both ways and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.errors import ModelError

Messages = Sequence[dict[str, str]]
Render = Callable[[Messages, bool], str]  # (dialogue, open the assistant's turn?) -> text
ROLES = ("system", "user", "assistant")
_SAID = ("\u241fsystem\u241f", "\u241fuser\u241f", "\u241fanswer\u241f")
TRIED: tuple[Messages, ...] = (
    ({"role": "user", "content": "Hello."},),
    ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a lake?"}),
    (
        {"role": "user", "content": "Name a colour."},
        {"role": "assistant", "content": "Blue."},
        {"role": "user", "content": "Another one, please."},
    ),
)


@dataclass(frozen=True)
class Template:
    """What stands before and after each role's words; what opens a dialogue and an answer.

    system: what the template says for a dialogue that brings no system turn; None where nothing.
    """

    around: dict[str, tuple[str, str]]
    opening: str
    ask: str
    system: str | None

    def rendered(self, messages: Messages) -> str:
        """As Ollama renders `go` (its order of a range over the messages)."""
        turns = list(messages)
        if self.system is not None and turns[0]["role"] != "system":
            turns.insert(0, {"role": "system", "content": self.system})
        parts = [self.opening]
        for turn in turns:
            before, after = self.around[turn["role"]]
            parts += [before, turn["content"], after]
        return "".join([*parts, self.ask])

    def go(self) -> str:
        """The same as a Go template."""
        branches = []
        for number, role in enumerate(ROLES):
            before, after = self.around[role]
            word = "else if" if number else "if"
            branches.append(
                f"{{{{ {word} eq .Role {_quoted(role)} }}}}"
                f"{_literal(before)}{{{{ .Content }}}}{_literal(after)}"
            )
        turns = "".join(branches)
        return (
            f"{_literal(self.opening)}{{{{ range .Messages }}}}{turns}{{{{ end }}}}{{{{ end }}}}"
            f"{_literal(self.ask)}"
        )


def read(render: Render) -> Template:
    """The parts of the template behind `render`. Raises ModelError where it is not made of such.

    Two user turns around an answer show what stands between them; a dialogue without a system turn
    shows what the template says for it.
    """
    said, user, answer = _SAID
    asked = [{"role": "user", "content": user}]
    told = [*asked, {"role": "assistant", "content": answer}]
    alone, pair = render(asked, False), render(told, False)
    ask = render(asked, True).removeprefix(alone)
    after_user = _around(alone, user)[1]
    before_answer, after_answer = _around(pair.removeprefix(alone.removesuffix(after_user)), answer)
    turn = _around(render([*told, *asked], False).removeprefix(pair), user)[0]
    opening = _around(alone, user)[0].removesuffix(turn)
    try:
        whole = render([{"role": "system", "content": said}, *asked], False)
    except ModelError:
        whole = ""  # a template that knows no system turn
    system, opening, default = _system(whole, said, turn + user, opening)
    pairs = (system, (turn, after_user), (before_answer.removeprefix(after_user), after_answer))
    template = Template(dict(zip(ROLES, pairs, strict=True)), opening, ask, default)
    tried = [m for m in TRIED if said in whole or m[0]["role"] != "system"]
    if any(template.rendered(messages) != render(messages, True) for messages in tried):
        raise ModelError(
            "The model's chat template cannot be written as one of Ollama's.",
            "Serve the GGUF with llama.cpp, which reads the template in the file.",
        )
    return template


def _system(
    whole: str, said: str, user: str, opening: str
) -> tuple[tuple[str, str], str, str | None]:
    """(what stands around a system turn, what opens a dialogue, what is said without such a turn).

    `whole`: a dialogue of the system turn `said` and a user's, which begins with `user`. `opening`:
    what stands before the first user's turn of a dialogue without a system turn.
    """
    if said not in whole:
        return ("", ""), opening, None
    before, rest = whole.split(said, 1)
    after = rest.partition(user)[0]
    default = opening.removeprefix(before).removesuffix(after)
    if default and opening == before + default + after:
        return (before, after), "", default
    return (before.removeprefix(opening), after), opening, None


def _around(text: str, mark: str) -> tuple[str, str]:
    before, found, after = text.partition(mark)
    if not found:
        raise ModelError("The model's chat template changes what is said.", "Serve it elsewhere.")
    return before, after


def _quoted(text: str) -> str:
    """A Go string literal."""
    special = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(special.get(c, c) for c in text) + '"'


def _literal(text: str) -> str:
    """Text in a Go template, as a string: braces and line ends stay what they are."""
    return f"{{{{ {_quoted(text)} }}}}" if text else ""


def modelfile(gguf: str, template: Template, stops: Sequence[str], system: str | None) -> str:
    """The text of a Modelfile beside the file `gguf`.

    `system`: what the task's rows had; without one, what the template says itself. The temperature
    is that of the measurements.
    """
    lines = [f"FROM ./{gguf}", f'TEMPLATE """{template.go()}"""']
    said = system or template.system
    if said:
        lines.append(f'SYSTEM """{said}"""')
    lines += [f"PARAMETER stop {_quoted(stop)}" for stop in stops]
    return "\n".join([*lines, "PARAMETER temperature 0", ""])
