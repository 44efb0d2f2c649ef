"""podman in docker's place: a container engine of the tests' own, with a Debian made on the spot.

It needs root, podman, crun and debootstrap, and nothing that runs in the background. Images and
layers are kept in a folder of their own, so a second run builds only what has changed:
$APPLIANCE_IMAGE_STORE, or `appliance-image-tests` in the user's cache.

    docker build …   builds the CPU image, with pip's settings of this machine
    docker run …     runs without a GPU, on one thread, and a `train` is cut short

Without arguments it is the probe: can a container of that Debian run here at all?
"""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BASE = "docker.io/library/debian:bookworm-slim"
TOOLS = ("podman", "crun", "conmon", "debootstrap")
SHORT = (
    "data.limit=32", "data.test_limit=8", "train.max_steps=1", "train.evaluations=0",
    "evaluate.answer_tokens=8", "evaluate.off_task=off_task.jsonl", "rehearsal.dialogues=8",
    "evaluate.suites=[]", "policy.action=warn", "policy.dial=never",
)  # fmt: skip


def lacking() -> str:
    """Why no image can be built here, or nothing."""
    if os.geteuid() != 0:
        return "only root can make a Debian base with debootstrap"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    return f"apt-get install {' '.join(missing)}" if missing else ""


def default_store() -> Path:
    given = os.environ.get("APPLIANCE_IMAGE_STORE")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else cache / "appliance-image-tests"


def mirrors(folder: Path = Path("/etc/apt")) -> Iterator[tuple[str, str]]:
    """(address, suite) of everything that apt is configured with."""
    for path in [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))]:
        if path.is_file():
            pattern = r"^deb\s+(?:\[[^]]*\]\s*)?(\S+)\s+(\S+)"
            yield from re.findall(pattern, path.read_text(), re.MULTILINE)
    for path in sorted(folder.glob("sources.list.d/*.sources")):
        for part in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^(URIs|Suites|Enabled):\s*(.+)$", part, re.MULTILINE))
            if fields.get("Enabled", "yes") == "yes":
                for address in fields.get("URIs", "").split():
                    yield from ((address, suite) for suite in fields.get("Suites", "").split())


def debian_mirror(folder: Path = Path("/etc/apt")) -> str | None:
    """The mirror that apt takes Debian from; without one, debootstrap knows its own."""
    names = ("bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable")
    found = [address for address, suite in mirrors(folder) if suite in names]
    return next((address for address in found if address.rstrip("/").endswith("debian")), None)


def overlay_works(folder: Path) -> bool:
    """Can overlay file systems lie in this folder? Not where it lies on one itself."""
    parts = {name: folder / "probe" / name for name in ("low", "up", "work", "at")}
    for part in parts.values():
        part.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={parts['low']},upperdir={parts['up']},workdir={parts['work']}"
    mount = shlex.join(["mount", "-t", "overlay", "overlay", "-o", options, str(parts["at"])])
    done = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True)
    shutil.rmtree(folder / "probe")
    return done.returncode == 0


def write_settings(store: Path) -> None:
    """What podman is to use: no cgroups, no network of its own, no systemd, this store."""
    store.mkdir(parents=True, exist_ok=True)
    driver = "overlay" if overlay_works(store) else "vfs"
    (store / "storage.conf").write_text(
        f'[storage]\ndriver = "{driver}"\nrunroot = "{store}/run"\ngraphroot = "{store}/images"\n'
    )
    files = "{}:{}".format(*resource.getrlimit(resource.RLIMIT_NOFILE))
    (store / "containers.conf").write_text(
        '[containers]\ncgroups = "disabled"\nnetns = "none"\n'
        f'default_ulimits = ["nofile={files}", "nproc=4096:4096"]\n'
        '[engine]\nruntime = "crun"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
    )


def podman(store: Path, *arguments: str) -> list[str]:
    """The command that runs podman with the settings of the store."""
    command = [
        "env",
        f"CONTAINERS_STORAGE_CONF={store}/storage.conf",
        f"CONTAINERS_CONF={store}/containers.conf",
        "podman",
        *arguments,
    ]
    if Path("/sys/fs/cgroup/unified").is_dir():
        # crun refuses a machine with both kinds of cgroups: it is shown the new kind only.
        only_new = (
            "mount --make-rprivate / && umount -R /sys/fs/cgroup"
            ' && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'
        )
        command = ["unshare", "-m", "sh", "-c", only_new, "sh", *command]
    return command


def make_base(store: Path) -> None:
    """A Debian as small as the official slim one, from the mirror of this machine."""
    root = store / "base"
    subprocess.run(["rm", "-rf", str(root)], check=True)
    mirror = debian_mirror()
    # In a mount namespace of its own, so that no /proc stays mounted there when it is cut off. Its
    # errors go to stdout: they are to be seen.
    command = ["unshare", "-m", "debootstrap", "--variant=minbase", "bookworm", str(root)]
    subprocess.run([*command, *filter(None, [mirror])], check=True, stdout=2)
    # What the slim image leaves out, now and of whatever is installed later.
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(
        "path-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\n"
        + "".join(f"path-exclude /usr/share/{name}/*\n" for name in ("man", "info", "locale"))
    )
    slim = (
        "find usr/share/doc -type f ! -name copyright -delete; find usr/share/doc -type l -delete;"
        " rm -rf usr/share/man/* usr/share/info/* usr/share/locale/*"
        " var/cache/apt/*.bin var/cache/apt/archives/*.deb var/lib/apt/lists/* var/log/*"
    )
    subprocess.run(["sh", "-c", slim], cwd=root, check=True)
    packed = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
    command = podman(store, "import", "-q", "-c", 'CMD ["bash"]', "-", BASE)
    subprocess.run(command, stdin=packed.stdout, check=True, stdout=subprocess.DEVNULL)
    if packed.wait():
        raise RuntimeError("tar failed on the Debian base")
    subprocess.run(["rm", "-rf", str(root)], check=True)


def prepare(store: Path) -> None:
    """Make the settings and the base, where they are not there yet, and run a container of it."""
    write_settings(store)
    if subprocess.run(podman(store, "image", "exists", BASE)).returncode:
        make_base(store)
    subprocess.run(podman(store, *translate(["run", "--rm", BASE, "true"])), check=True)


def pip_settings() -> list[str]:
    """Arguments that give a build this machine's packages: PIP_*, its folders, its certificates."""
    said: list[str] = []
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        value = os.environ.get(name, "")
        if not value:
            continue
        said += ["--build-arg", f"{name}={value}"]
        for word in value.split():
            folder = Path(word.removeprefix("file://"))
            if folder.is_absolute() and folder.is_dir():
                said += ["--volume", f"{folder}:{folder}:ro"]
    for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        bundle = os.environ.get(name, "")
        if bundle and Path(bundle).is_file():
            # Not at its own place: Debian's package of certificates writes there.
            said += ["--volume", f"{bundle}:/run/certificates.crt:ro"]
            said += ["--build-arg", "PIP_CERT=/run/certificates.crt"]
            break
    return said


def translate(arguments: list[str]) -> list[str]:
    """The arguments of docker, as podman gets them here."""
    verb, rest = arguments[0], arguments[1:]
    if verb == "build":
        # chroot: no network namespace of its own is needed. docker: OCI images have no HEALTHCHECK.
        ours = ["--isolation=chroot", "--network=host", "--format=docker", "--pull=never"]
        return [verb, *ours, "--build-arg", "TORCH=cpu", *pip_settings(), *rest]
    if verb == "run":
        if "--gpus" in rest:
            at = rest.index("--gpus")
            del rest[at : at + 2]
        if "train" in rest:
            rest += [word for pair in SHORT for word in ("--set", pair)]
        # podman has a tmpfs in more places than docker where the root is read-only, and asks
        # systemd for the health checks.
        # One thread: two wait for one another wherever the machine has other work to do.
        ours = ["--read-only-tmpfs=false", "--no-healthcheck", "--env", "OMP_NUM_THREADS=1"]
        return [verb, *ours, *rest]
    return arguments


def probe() -> str:
    """Why no container runs here, or nothing."""
    if reason := lacking():
        return reason
    try:
        prepare(default_store())
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        return str(error)
    return ""


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(probe() or 0)
    line = podman(Path(sys.argv[1]), *translate(sys.argv[2:]))
    os.execvp(line[0], line)
