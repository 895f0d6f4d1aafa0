"""Self-signed certificates for receivers that serve HTTPS."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
RSA = ("-newkey", "rsa:2048")
KEYS = (EC, RSA)


def make_certificate(folder: Path, name: str, key: Sequence[str] = EC) -> tuple[Path, Path]:
    """Make a certificate and its key, in place of those that are there, and return their paths."""
    paths = folder / "cert.pem", folder / "key.pem"
    made = [folder / f"new-{path.name}" for path in paths]
    options = ["-nodes", "-subj", f"/CN={name}", "-days", "2", "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(["openssl", "req", "-x509", *key, *options], check=True, capture_output=True)  # noqa: S607
    for new, path in zip(made, paths, strict=True):
        new.replace(path)
    return paths
