"""Private keys in a hardware module, a smart card or a cloud service, through PKCS #11: :class:`Token`.

Needs the package ``python-pkcs11``: ``pip install tlsprovider[pkcs11]``. What the module is, and where its library
lies, says its maker; SoftHSM2's is ``/usr/lib/softhsm/libsofthsm2.so``.

A module blocks while it signs, and some take milliseconds. ``run`` moves that out of an event loop's way::

    token.identity(chain, run=trio.to_thread.run_sync)
    token.identity(chain, run=twisted.internet.threads.deferToThread)

There is one session, and so one signature at a time: a session is not to be shared, and PKCS #11 logs a whole process
in and out of a token. A session that fails is left; the next signature opens a new one.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import attrs
import pkcs11
from pkcs11 import KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import MGF
from pkcs11.util.ec import encode_ecdsa_signature

from tlsprovider.crypto import certificates as certs
from tlsprovider.crypto import signatures
from tlsprovider.errors import ConfigError, PeerFault
from tlsprovider.iana import SignatureScheme as S
from tlsprovider.identity import Identity

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["Token", "TokenError"]

Run = Callable[..., Awaitable[bytes]]

PROBE: Final = b"tlsprovider asks whether this is the key of its certificate"


class TokenError(Exception):
    """The module or the token failed. The handshake is aborted; the next one tries a new session."""


@attrs.frozen
class Method:
    """How a scheme is said in PKCS #11. ``digest``: the hash that is taken here, in front of the mechanism."""

    key_type: KeyType
    mechanism: Mechanism
    digest: str = ""
    parameter: tuple[Mechanism, MGF, int] | None = None

    def sign(self, key: Any, message: bytes) -> bytes:
        data = hashlib.new(self.digest, message).digest() if self.digest else message
        signature: bytes = key.sign(data, mechanism=self.mechanism, mechanism_param=self.parameter)
        # PKCS #11 gives the two numbers side by side, TLS takes them in DER (RFC 9846 section 4.3.3).
        return encode_ecdsa_signature(signature) if self.key_type is KeyType.EC else signature


def _pss(bits: int) -> Method:
    """Section 4.3.3: the same hash throughout, and a salt of its length."""
    parameter = Mechanism[f"SHA{bits}"], MGF[f"SHA{bits}"], bits // 8
    return Method(KeyType.RSA, Mechanism[f"SHA{bits}_RSA_PKCS_PSS"], "", parameter)


METHODS: Final = {
    S.ecdsa_secp256r1_sha256: Method(KeyType.EC, Mechanism.ECDSA, "sha256"),
    S.ecdsa_secp384r1_sha384: Method(KeyType.EC, Mechanism.ECDSA, "sha384"),
    S.ecdsa_secp521r1_sha512: Method(KeyType.EC, Mechanism.ECDSA, "sha512"),
    S.ed25519: Method(KeyType.EC_EDWARDS, Mechanism.EDDSA),
    **{S[f"rsa_pss_{kind}_sha{bits}"]: _pss(bits) for kind in ("rsae", "pss") for bits in (256, 384, 512)},
}


class Token:
    """A token, logged in to when it is first needed.

    :param module: the library of its maker.
    :param label: the token's name; None where the module has one token only.
    :param pin: the user's PIN.

    Raises ConfigError where the library can't be loaded, or there is no such token.
    """

    def __init__(self, module: str | os.PathLike[str], label: str | None = None, pin: str | None = None) -> None:
        self._pin = pin
        self._lock = threading.Lock()
        self._session: Any = None
        try:
            self._token = pkcs11.lib(os.fspath(module)).get_token(token_label=label)
        except (PKCS11Error, RuntimeError, OSError) as problem:
            raise ConfigError(f"{os.fspath(module)}: no token {label or ''!r} there: {_words(problem)}") from None

    def __repr__(self) -> str:
        return f"<Token {str(self._token.label).strip()!r}>"

    def identity(
        self, certificates: Iterable[Certificate] | bytes, key_label: str | None = None, run: Run | None = None
    ) -> Identity:
        """An identity with this chain (PEM or ``cryptography`` objects, leaf first), whose key is in the token.

        :param key_label: the key's name; None: whichever of the token's keys is the certificate's.
        :param run: calls a function with arguments somewhere else, and gives an awaitable for its result.

        The key signs something once, to know that it is the right one. Raises ConfigError where none is.
        """
        chain = (
            certs.load_pem_chain(certificates, "identity") if isinstance(certificates, bytes) else tuple(certificates)
        )
        if not chain:
            raise ConfigError("identity: no certificate was given")
        schemes = [scheme for scheme in signatures.schemes_for(chain[0]) if scheme in METHODS]
        if not schemes:
            raise ConfigError("identity: a key of this kind can't be used through PKCS #11 here")
        return Identity.with_signer(chain, TokenKey(self, self._find(chain[0], schemes[0], key_label), run))

    def sign(self, key: dict[str, Any], scheme: S, message: bytes) -> bytes:
        """Blocks until it is signed. ``key``: attributes that name one of the token's private keys."""
        with self._lock:
            try:
                found = self._open().get_key(object_class=ObjectClass.PRIVATE_KEY, **key)
                return METHODS[scheme].sign(found, message)
            except PKCS11Error as problem:
                self._leave()
                raise TokenError(f"{self!r} did not sign with {scheme}: {_words(problem)}") from problem

    def close(self) -> None:
        """Log out. The next signature logs in again."""
        with self._lock:
            self._leave()

    def _find(self, leaf: Certificate, scheme: S, key_label: str | None) -> dict[str, Any]:
        """The attributes of the key that belongs to the certificate."""
        wanted: dict[Any, Any] = {
            pkcs11.Attribute.CLASS: ObjectClass.PRIVATE_KEY,
            pkcs11.Attribute.KEY_TYPE: METHODS[scheme].key_type,
        }
        if key_label is not None:
            wanted[pkcs11.Attribute.LABEL] = key_label
        try:
            with self._lock:
                names = [_name(key) for key in self._open().get_objects(wanted)]
        except PKCS11Error as problem:
            raise ConfigError(f"{self!r}: its keys can't be listed: {_words(problem)}") from None
        for name in names:
            with suppress(TokenError, PeerFault):
                signatures.verify(leaf, scheme, self.sign(name, scheme, PROBE), PROBE)
                return name
        found = ", ".join(sorted(repr(name.get("label", name.get("id"))) for name in names)) or "none"
        raise ConfigError(f"{self!r} has no key of the certificate of {certs.describe(leaf.subject)}; tried: {found}")

    def _open(self) -> Any:
        if self._session is None:
            self._session = self._token.open(user_pin=self._pin)
        return self._session

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with suppress(PKCS11Error):
                session.close()


@attrs.frozen
class TokenKey:
    """One of its keys, as a :class:`~tlsprovider.identity.Signer`."""

    token: Token
    key: dict[str, Any]
    run: Run | None

    @property
    def schemes(self) -> tuple[S, ...]:
        """Of these, the certificate's key decides which."""
        return tuple(METHODS)

    def sign(self, scheme: S, message: bytes) -> bytes | Awaitable[bytes]:
        if self.run is None:
            return self.token.sign(self.key, scheme, message)
        return self.run(self.token.sign, self.key, scheme, message)


def _name(key: Any) -> dict[str, Any]:
    """What tells a key from the others of its token."""
    names = {"label": key.label, "id": key.id}
    return {name: value for name, value in names.items() if value}


def _words(problem: BaseException) -> str:
    """PKCS #11 has error codes and few words for them."""
    return f"{type(problem).__name__} {problem}".strip()
