"""Keys in SoftHSM2 (Debian's package softhsm2), through PKCS #11."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
from loop import pump
from pkcs11 import Mechanism
from pkcs11.exceptions import FunctionFailed
from test_handshake import check_data, engines
from trio_run import shake_hands, tls_pair, trio_run

from tlsprovider import pkcs11
from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority, Issued, KeyType
from tlsprovider.errors import ConfigError, HookError
from tlsprovider.iana import SignatureScheme as S
from tlsprovider.identity import Identity
from tlsprovider.pkcs11 import METHODS, Method, Token, TokenError

# One where it is installed, and .ci/run installs it.
MODULES = [place for place in Path("/usr/lib").glob("**/libsofthsm2.so")][:1]
KINDS: list[KeyType] = ["p256", "p384", "p521", "ed25519", "rsa2048"]


@attrs.frozen
class Soft:
    """A token of SoftHSM2 that holds the key of each certificate, labelled with its kind."""

    module: Path
    token: Token
    issued: dict[str, Issued]


@pytest.fixture(scope="module", params=MODULES)
def soft(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Soft]:
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    util("--init-token", "--free", "--label", "tests", "--so-pin", "8765")
    issued = {}
    for number, kind in enumerate(KINDS, 1):
        issued[kind] = one = authority.issue("localhost", key_type=kind)
        (folder / "key.pem").write_bytes(one.key_pem)
        util("--import", str(folder / "key.pem"), "--token", "tests", "--label", kind, "--id", f"{number:02x}")
    token = Token(request.param, "tests", "1234")
    yield Soft(request.param, token, issued)
    token.close()
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


def util(*arguments: str) -> None:
    subprocess.run(["softhsm2-util", *arguments, "--pin", "1234"], check=True, capture_output=True, timeout=20)


@pytest.mark.parametrize("kind", KINDS)
def test_handshake(soft: Soft, client_config: ClientConfig, kind: str) -> None:
    identity = soft.token.identity(soft.issued[kind].certificates)
    assert identity.external and identity.private_key is None
    client, server = engines(client_config, ServerConfig(identities=[identity]))
    pump(client, server)
    assert client.signature_scheme == str(identity.schemes[0])
    check_data(client, server)


def schemes_of(kind: str) -> list[S]:
    prefix = {"p256": "ecdsa_secp256", "p384": "ecdsa_secp384", "p521": "ecdsa_secp521", "ed25519": "ed25519"}
    return [scheme for scheme in METHODS if scheme.name.startswith(prefix.get(kind, "rsa_pss_rsae"))]


@pytest.mark.parametrize(("kind", "scheme"), [(kind, scheme) for kind in KINDS for scheme in schemes_of(kind)])
def test_every_scheme(soft: Soft, client_config: ClientConfig, kind: str, scheme: S) -> None:
    """The signature is checked twice: here before it is sent, and by the client."""
    identity = soft.token.identity(soft.issued[kind].chain_pem, kind)
    only = Identity.with_signer(identity.certificates, identity, [scheme])
    client, server = engines(client_config, ServerConfig(identities=[only]))
    pump(client, server)
    assert client.signature_scheme == str(scheme)


@trio_run
async def test_in_a_thread(soft: Soft, client_config: ClientConfig) -> None:
    identity = soft.token.identity(soft.issued["p256"].certificates, run=trio.to_thread.run_sync)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(shake_hands, *tls_pair(client_config, ServerConfig(identities=[identity])))


class TestWhatGoesWrong:
    def test_no_library(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"missing\.so: no token"):
            Token(tmp_path / "missing.so", "tests", "1234")

    def test_no_token(self, soft: Soft) -> None:
        with pytest.raises(ConfigError, match="no token 'other' there: NoSuchToken"):
            Token(soft.module, "other", "1234")

    def test_another_key(self, soft: Soft, authority: Authority) -> None:
        with pytest.raises(
            ConfigError, match=r"no key of the certificate of 'other.test'; tried: 'p256', 'p384', 'p521'"
        ):
            soft.token.identity(authority.issue("other.test").certificates)
        with pytest.raises(ConfigError, match=r"tried: none"):
            soft.token.identity(soft.issued["p256"].certificates, "no such label")

    def test_a_kind_without_a_method(self, soft: Soft, authority: Authority) -> None:
        with pytest.raises(ConfigError, match="can't be used through PKCS #11"):
            soft.token.identity(authority.issue("localhost", key_type="mldsa44").certificates)
        with pytest.raises(ConfigError, match="no certificate"):
            soft.token.identity([])

    def test_wrong_pin(self, soft: Soft) -> None:
        soft.token.close()
        with pytest.raises(ConfigError, match="can't be listed: PinIncorrect"):
            Token(soft.module, "tests", "4321").identity(soft.issued["p256"].certificates)

    def test_failure_and_recovery(
        self, soft: Soft, client_config: ClientConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = ServerConfig(identities=[soft.token.identity(soft.issued["p256"].certificates)])

        def fail(method: Method, key: object, message: bytes) -> bytes:
            raise FunctionFailed

        with monkeypatch.context() as patched:
            patched.setattr(Method, "sign", fail)
            client, server = engines(client_config, config)
            with pytest.raises(HookError, match="did not sign with ecdsa_secp256r1_sha256: FunctionFailed") as raised:
                pump(client, server)
        assert isinstance(raised.value.__cause__, TokenError)
        pump(*engines(client_config, config))

    def test_faulty_signature_is_not_sent(
        self, soft: Soft, client_config: ClientConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A fault in an RSA signature would give the key away."""
        config = ServerConfig(identities=[soft.token.identity(soft.issued["rsa2048"].certificates)])
        good = Method.sign

        def faulty(method: Method, key: object, message: bytes) -> bytes:
            signature = good(method, key, message)
            return signature[:-1] + bytes((signature[-1] ^ 1,))

        monkeypatch.setattr(Method, "sign", faulty)
        client, server = engines(client_config, config)
        with pytest.raises(HookError, match="not valid for rsa_pss_rsae_sha256"):
            pump(client, server)


def test_pss_has_the_salt_that_tls_wants() -> None:
    assert METHODS[S.rsa_pss_rsae_sha384].mechanism is Mechanism.SHA384_RSA_PKCS_PSS
    assert METHODS[S.rsa_pss_rsae_sha384].parameter == (Mechanism.SHA384, pkcs11.MGF.SHA384, 48)
