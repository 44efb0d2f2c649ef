"""Write the list of every part's licence: licences.json and licences.txt in a folder.

    python3 licences.py WHEELS_JSON DPKG_STATUS FOLDER

Run while the image is built. WHEELS_JSON is what pip-licenses found. Debian's packages say theirs
in /usr/share/doc/NAME/copyright, which python-debian reads; where such a file is plain prose, the
licences it refers to by name are listed.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from debian.copyright import Copyright, NotMachineReadableError
from debian.deb822 import Packages

COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9+])")


def debian_licences(path: Path) -> str:
    """The licences that a copyright file names, e.g. `GPL-2+, MIT`."""
    text = path.read_text(encoding="utf-8", errors="replace")
    names: set[str] = set()
    try:
        copyright = Copyright(text.splitlines(), strict=False)
        for part in copyright.all_files_paragraphs():
            if part.license:
                names.add(part.license.synopsis)
    except (NotMachineReadableError, ValueError):
        pass
    names = {name for name in names if name} or set(COMMON.findall(text))
    return ", ".join(sorted(names)) or "see its text"


def debian_parts(status: Path) -> list[dict[str, str]]:
    parts = []
    with status.open(encoding="utf-8") as file:
        for package in Packages.iter_paragraphs(file, use_apt_pkg=False):
            if not package["Status"].endswith(" installed"):
                continue
            path = Path("/usr/share/doc") / package["Package"] / "copyright"
            parts.append(
                {
                    "kind": "Debian package",
                    "name": package["Package"],
                    "version": package["Version"],
                    "licence": debian_licences(path) if path.is_file() else "see its source",
                    "text": str(path),
                }
            )
    return parts


def wheel_parts(found: Path) -> list[dict[str, str]]:
    return [
        {
            "kind": "Python package",
            "name": part["Name"],
            "version": part["Version"],
            "licence": part["License"],
            "text": part["URL"],
        }
        for part in json.loads(found.read_text())
    ]


def main(wheels: str, status: str, folder: str) -> None:
    parts = wheel_parts(Path(wheels)) + debian_parts(Path(status))
    parts.sort(key=lambda part: (part["kind"], part["name"].lower()))
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / "licences.json").write_text(json.dumps(parts, indent=1) + "\n")
    lines = [
        f"{part['kind']:<15} {part['name']:<38} {part['version']:<28} {part['licence']}"
        for part in parts
    ]
    (target / "licences.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
