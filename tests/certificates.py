"""A certificate authority of this machine."""

import subprocess
from pathlib import Path

from staged import program


def certify(folder: Path, *places: Path) -> Path:
    """Make an authority, and a certificate of it for localhost with its key in places; return the authority's."""
    make = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    authority = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE")
    for command in (
        (*make, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test authority"),
        (*make, "-keyout", "own.key", "-out", "own.pem", *names, *authority),
    ):
        subprocess.run([program("openssl"), *command], cwd=folder, check=True, capture_output=True)
    pem = "".join((folder / name).read_text(encoding="utf-8") for name in ("own.pem", "own.key"))
    for place in places:
        place.write_text(pem, encoding="utf-8")
    return folder / "ca.pem"
