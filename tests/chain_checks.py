"""What a trust store says to a chain: the names it verified, or why it refused."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from certificate_maker import CA, NOT_CA, NOW, SERVER_AUTH, Extension, Made, make, san, usage
from cryptography import x509

from tlsprovider.errors import CertificateFault, Fault
from tlsprovider.trust import TrustStore

LEAF = (SERVER_AUTH, NOT_CA, usage("digital_signature"))
ROOT = (CA, usage("key_cert_sign", "crl_sign"))


def refusal(
    trust: TrustStore, *chain: Made | x509.Certificate, name: str | None = "host.example", now: float = NOW
) -> tuple[Fault, str]:
    """Why a server (or, without name, a client) is refused."""
    certificates = [one.certificate if isinstance(one, Made) else one for one in chain]
    with pytest.raises(CertificateFault) as caught:
        if name is None:
            trust.verify_client(certificates, now)
        else:
            trust.verify_server(certificates, name, now)
    return caught.value.fault, caught.value.detail


def accepted(trust: TrustStore, *chain: Made, name: str | None = "host.example", now: float = NOW) -> list[str]:
    """The common names of the verified chain."""
    certificates = [one.certificate for one in chain]
    if name is None:
        verified = trust.verify_client(certificates, now)
    else:
        verified = trust.verify_server(certificates, name, now)
    return [one.subject.rfc4514_string().removeprefix("CN=") for one in verified]


def host(root: Made, extensions: Sequence[Extension] = LEAF, **how: object) -> Made:
    return make("host", [san("host.example"), *extensions], issuer=root, **how)


def run(script: str, directory: Path) -> None:
    """Each line is a command, for making files in ``directory``."""
    for line in script.strip().splitlines():
        subprocess.run(line.split(), cwd=directory, check=True, capture_output=True, timeout=30)
