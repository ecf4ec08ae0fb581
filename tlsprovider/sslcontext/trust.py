"""Trust as an ``ssl.SSLContext`` gathers it: piece by piece, and perhaps without looking at names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlsprovider.crypto.certificates import certificate_names
from tlsprovider.errors import CertificateFault, ConfigError, Fault
from tlsprovider.trust import TrustStore

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["LoadedTrust"]


class LoadedTrust(TrustStore):
    """What was loaded into a context, and what the system trusts if that was asked for.

    :param check_name: False is ``check_hostname = False``: the chain has to be good, and may be for anybody.
    """

    def __init__(self, loaded: Sequence[Certificate], system: bool, check_name: bool) -> None:
        def load() -> tuple[Certificate, ...]:
            found = (*loaded, *(TrustStore.system().certificates if system else ()))
            return tuple(dict.fromkeys(found))

        sources = [f"{len(loaded)} loaded"] * bool(loaded) + ["the system's"] * system
        super().__init__(f"of an SSLContext: {' and '.join(sources) or 'nothing'}", load)
        self._check_name = check_name
        self._is_empty = not loaded and not system

    @property
    def needs_name(self) -> bool:
        return self._check_name

    def verify_server(
        self, certificates: Sequence[Certificate], server_name: str | None, now: float
    ) -> tuple[Certificate, ...]:
        self._insist_on_something()
        if self._check_name:
            return super().verify_server(certificates, server_name, now)
        # The verifier looks for a name in any case: for one that is there.
        for name in certificate_names(certificates[0]):
            try:
                return super().verify_server(certificates, name.replace("*", "any", 1), now)
            except ConfigError:
                continue
        raise CertificateFault("the certificate has no name in a subjectAltName", Fault.CERTIFICATE_NAME)

    def verify_client(self, certificates: Sequence[Certificate], now: float) -> tuple[Certificate, ...]:
        self._insist_on_something()
        return super().verify_client(certificates, now)

    def _insist_on_something(self) -> None:
        if self._is_empty:
            raise CertificateFault(
                "no authority is trusted: load_verify_locations() or load_default_certs() was not called",
                Fault.CERTIFICATE_UNKNOWN_ISSUER,
            )
