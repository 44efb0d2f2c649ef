"""`push`: what a run exported, to a repository of the Hugging Face Hub, in one commit.

Nothing is sent but by this verb, and only what the export's own facts name, if its bytes still are
those that were proven: the merged model at the top with the card as README.md, GGUF files and the
adapter in folders of their own, and the proof.
"""

from __future__ import annotations

from pathlib import Path

from appliance.console import console
from appliance.disk import read_json, sha256
from appliance.errors import ApplianceError, BadInput, RunError
from appliance.run import RunDir

TOP = "merged/"  # of what is exported, what lies at the top of the repository


def push(run: RunDir, repo: str, *, public: bool = False) -> str:
    """Create the repository (private, unless `public`) where it is not there, and commit.

    Gives its address. Raises RunError when there is no export, it is not proven, or it has changed
    since; BadInput without a token or with a name that is none; ApplianceError when the hub says
    no.
    """
    files = _files(run)
    import httpx
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import HFValidationError

    if not get_token():
        raise BadInput("There is no token for the hub.", "Set HF_TOKEN to one that may write.")
    api = HfApi()
    size = sum(path.stat().st_size for path in files.values())
    console.say(f"sending {len(files)} files, {size / 1e6:.0f} MB, to {repo}")
    try:
        created = api.create_repo(repo, private=not public, exist_ok=True)
        api.create_commit(
            created.repo_id,
            [CommitOperationAdd(name, str(path)) for name, path in files.items()],
            commit_message=f"{run.root.resolve().name}, exported by appliance",
        )
    except HFValidationError as error:
        raise BadInput(f"{repo} is no name of a repository.", "Take owner/name.") from error
    except (httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ApplianceError(
            f"The hub did not take {repo} ({reason}).",
            "Nothing of it was committed. Mend what it names (the network, the token's rights, the "
            "owner) and push again.",
        ) from error
    return str(created)


def _files(run: RunDir) -> dict[str, Path]:
    """{name in the repository: file}."""
    folder = run.merged.parent
    if not run.export_facts.is_file():
        raise RunError(f"{run.root} has no whole export.", f"`appliance export {run.root}` first.")
    if run.unusable.is_file():
        raise RunError(f"{run.unusable} says that the proof failed.", "Export it again.")
    facts = read_json(run.export_facts)
    found = {}
    for name, digest in facts["files"].items():
        path = folder / name
        if not path.is_file() or sha256(path) != digest:
            raise RunError(
                f"{path} is not what was proven any more.", f"`appliance export {run.root}` again."
            )
        found[name.removeprefix(TOP)] = path
    return found | {"README.md": run.card, "proof.json": run.proof}
