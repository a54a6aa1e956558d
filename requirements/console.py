"""Copy the console's library from the npm registry into app/console: `python requirements/console.py`.

The package must have the integrity that console.toml states, and its files the hashes; otherwise the status is 1.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tarfile
import tomllib
from hashlib import sha256, sha512
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
CONSOLE = HERE.parent / "app" / "console"


def main() -> int:
    """Write the files; return the exit status."""
    listed = tomllib.loads((HERE / "console.toml").read_text())
    package, status = f"{listed['package']}@{listed['version']}", 0
    with TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        found = f"sha512-{base64.b64encode(sha512(archive.read_bytes()).digest()).decode()}"
        if found != listed["integrity"]:
            print(f"{package} has the integrity {found}, not that of console.toml", file=sys.stderr)
            return 1
        with tarfile.open(archive) as files:
            for each in listed["file"]:
                member = files.extractfile(f"package/{each['from']}")
                assert member is not None, "a file"
                content = member.read()
                (CONSOLE / each["to"]).write_bytes(content)
                if (digest := sha256(content).hexdigest()) != each["sha256"]:
                    print(f"{each['to']}: sha256 is {digest}", file=sys.stderr)
                    status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
