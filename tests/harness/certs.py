"""Certificates for a control plane that lives for minutes, made with the openssl command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

VALID_DAYS = "30"


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, as files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path):
        """Create the authority's own key and certificate in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.own = KeyPair(folder / "ca.crt", folder / "ca.key")
        _openssl(
            *_new_key("-x509", self.own.key),
            *("-days", VALID_DAYS, "-subj", "/CN=test-control-plane", "-out", str(self.own.certificate)),
        )

    def issue(self, name: str, common_name: str, organization: str = "", addresses: str = "") -> KeyPair:
        """Issue a certificate; `addresses` is openssl's subjectAltName text and makes it fit for a server."""
        pair = KeyPair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        request = self._folder / f"{name}.csr"
        subject = (f"/O={organization}" if organization else "") + f"/CN={common_name}"
        _openssl(*_new_key("-new", pair.key), "-subj", subject, "-out", str(request))
        extensions = self._folder / f"{name}.ext"
        usage = "extendedKeyUsage=clientAuth,serverAuth\n"
        extensions.write_text(usage + (f"subjectAltName={addresses}\n" if addresses else ""))
        signer = ("-CA", str(self.own.certificate), "-CAkey", str(self.own.key), "-CAcreateserial")
        result = ("-days", VALID_DAYS, "-extfile", str(extensions), "-out", str(pair.certificate))
        _openssl("x509", "-req", "-in", str(request), *signer, *result)
        return pair

    def signing_key(self) -> KeyPair:
        """Create the key pair that signs ServiceAccount tokens; `certificate` is the bare public key."""
        pair = KeyPair(self._folder / "service-account.pub", self._folder / "service-account.key")
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(pair.key))
        _openssl("ec", "-in", str(pair.key), "-pubout", "-out", str(pair.certificate))
        return pair


def _new_key(kind: str, key: Path) -> tuple[str, ...]:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    return ("req", kind, *curve, "-keyout", str(key))


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(arguments)} failed: {done.stderr}")
