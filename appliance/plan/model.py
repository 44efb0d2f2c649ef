"""Which model a recipe names, as far as its config.json and tokenizer say: no weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ModelError
from appliance.home import home
from appliance.model import embedded
from appliance.model.load import near
from appliance.sections.source import ModelSection
from appliance.sizing import shape
from appliance.sizing.shape import Shape


@dataclass(frozen=True)
class Named:
    """`folder`: where its tokenizer may be, None where nothing of it is on the disk."""

    name: str
    shape: Shape
    folder: Path | None


def named(section: ModelSection) -> Named:
    """Raises ModelError: not there, no config.json, an architecture that is not counted."""
    if section.name == "embedded":
        folder = home() / "models" / f"{embedded.NAME}-{embedded.LAYOUT}"
        there = folder if (folder / "config.json").is_file() else None
        return Named(embedded.NAME, shape.shape(shape.EMBEDDED), there)
    path = Path(section.name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"{path} holds no config.json, so nothing is known of the model.",
                "Name a folder with its config.json; weights are not needed to plan.",
            )
        return Named(path.resolve().name, shape.read(path / "config.json"), path)
    if path.exists() or section.name.count("/") != 1 or section.name.startswith((".", "/", "~")):
        raise ModelError(f"There is no model folder {section.name}.", near(path))
    config = _of_hub(section.name, section.revision)
    return Named(section.name, shape.read(config), config.parent)


def _of_hub(name: str, revision: str | None) -> Path:
    """Its config.json, from the hub's cache or the hub; the tokenizer only where it lies beside."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, "config.json", revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelError(
            f"The config.json of {name} is neither in the hub's cache nor to be had from the hub.",
            "Check the name, the network and HF_TOKEN, or name a folder with its config.json.",
        ) from error
