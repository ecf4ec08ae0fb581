"""Every choice of a server and every check of a client, one class each. Pure functions: an offer in, a result out."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from bounded import bounded, fault_of
from hypothesis import given
from hypothesis import strategies as st

from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.handshake.negotiate import (
    POST_QUANTUM,
    check_alpn,
    check_hello_unchanged,
    check_server_hello,
    check_version,
    choose_alpn,
    choose_group,
    choose_identity,
    choose_signature,
    choose_suite,
    choose_version,
)
from tlsprovider.iana import CipherSuite as C
from tlsprovider.iana import ExtensionType as X
from tlsprovider.iana import NamedGroup as G
from tlsprovider.iana import ProtocolVersion, is_grease
from tlsprovider.iana import SignatureScheme as S
from tlsprovider.identity import Identity
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u16
from tlsprovider.wire.messages import HELLO_RETRY_RANDOM, ClientHello, ServerHello

SUITES = (C.TLS_AES_128_GCM_SHA256, C.TLS_AES_256_GCM_SHA384, C.TLS_CHACHA20_POLY1305_SHA256)
SESSION = bytes(range(32))


def versions(*numbers: int) -> dict[int, bytes]:
    return {X.supported_versions: ext.encode_offered_versions(numbers)}


def client_hello(
    extensions: dict[int, bytes] | None = None, *, legacy: int = 0x0303, compression: bytes = b"\0"
) -> ClientHello:
    return ClientHello(legacy, bytes(32), SESSION, SUITES, compression, extensions, b"")


def server_hello(selected: int | None = 0x0304, **changes: object) -> ServerHello:
    extensions = {} if selected is None else {X.supported_versions: u16(selected)}
    hello = ServerHello(0x0303, bytes(32), SESSION, C.TLS_AES_128_GCM_SHA256, 0, extensions, b"")
    return attrs.evolve(hello, **changes)


class TestChooseVersion:
    @pytest.mark.parametrize(
        "offered", [[0x0304], [0x0304, 0x0303], [0x0303, 0x0304], [0x5A5A, 0x7F1C, 0x0304, 0x0301]]
    )
    def test_tls13_wherever_it_stands(self, offered: list[int]) -> None:
        assert choose_version(client_hello(versions(*offered))) is ProtocolVersion.TLSv1_3

    @pytest.mark.parametrize("offered", [[0x0303], [0x0301, 0x0302], [0x0305], [0x7F1C], [0x0A0A]])
    def test_without_tls13(self, offered: list[int]) -> None:
        assert fault_of(choose_version, client_hello(versions(*offered))) is Fault.NO_COMMON_VERSION

    @pytest.mark.parametrize("extensions", [None, {}, {X.server_name: b""}])
    @pytest.mark.parametrize("legacy", [0x0300, 0x0301, 0x0303, 0x0304, 0xFFFF])
    def test_old_client(self, extensions: dict[int, bytes] | None, legacy: int) -> None:
        assert fault_of(choose_version, client_hello(extensions, legacy=legacy)) is Fault.NO_COMMON_VERSION

    def test_old_client_is_told_what_to_do(self) -> None:
        with pytest.raises(PeerFault, match=r"speaks TLSv1\.2 at most; .*openssl.*\[protocol_version"):
            choose_version(client_hello(None))

    @pytest.mark.parametrize("legacy", [0, 0x0301, 0x0302, 0x0304, 0xFFFF])
    def test_legacy_version(self, legacy: int) -> None:
        assert fault_of(choose_version, client_hello(versions(0x0304), legacy=legacy)) is Fault.LEGACY_VERSION

    @pytest.mark.parametrize("compression", [b"\1", b"\0\1", b"\1\0", b"\0\0"])
    def test_compression(self, compression: bytes) -> None:
        hello = client_hello(versions(0x0304), compression=compression)
        assert fault_of(choose_version, hello) is Fault.COMPRESSION

    def test_compression_is_the_business_of_older_versions(self) -> None:
        """Section 4.2.2: their clients may offer it."""
        assert fault_of(choose_version, client_hello(None, compression=b"\1\0")) is Fault.NO_COMMON_VERSION

    @pytest.mark.parametrize("content", [b"", b"\0", b"\1\3", b"\3\3\4\3", b"\2\3\4\0"])
    def test_malformed(self, content: bytes) -> None:
        assert fault_of(choose_version, client_hello({X.supported_versions: content})) is Fault.DECODE_ERROR


class TestChooseSuite:
    def test_order_is_the_servers(self) -> None:
        assert choose_suite(tuple(reversed(SUITES)), SUITES) is SUITES[0]
        assert choose_suite(SUITES, SUITES[1:]) is SUITES[1]

    def test_unknown_ones_are_ignored(self) -> None:
        assert choose_suite((0x1A1A, 0xC02F, 0x00FF, 0x1303), SUITES) is C.TLS_CHACHA20_POLY1305_SHA256

    @pytest.mark.parametrize("offered", [(), (0x1A1A, 0xC02F), (0x1304,)])
    def test_none_in_common(self, offered: tuple[int, ...]) -> None:
        assert fault_of(choose_suite, offered, SUITES) is Fault.NO_COMMON_SUITE

    def test_both_lists_are_told(self) -> None:
        with pytest.raises(PeerFault, match="offered: TLS_AES_128_CCM_SHA256, 0xc02f; allowed: TLS_AES_128_GCM_SHA256"):
            choose_suite((0x1304, 0xC02F), SUITES[:1])


GROUPS = [G.X25519MLKEM768, G.SecP256r1MLKEM768, G.x25519, G.secp256r1, G.secp384r1]
GROUP_LISTS = st.lists(st.sampled_from([*GROUPS, 0x2A2A]), unique=True)


class TestChooseGroup:
    def test_first_of_the_servers(self) -> None:
        shares = {G.secp256r1: b"p", G.x25519: b"x"}
        assert choose_group((G.secp256r1, G.x25519), shares, (G.x25519, G.secp256r1)) == (G.x25519, b"x")

    def test_a_share_saves_a_round_trip(self) -> None:
        assert choose_group((G.x25519, G.secp256r1), {G.secp256r1: b"p"}, (G.x25519, G.secp256r1)) == (
            G.secp256r1,
            b"p",
        )

    def test_post_quantum_is_worth_a_round_trip(self) -> None:
        allowed = (G.X25519MLKEM768, G.x25519)
        assert choose_group(allowed, {G.x25519: b"x"}, allowed) == (G.X25519MLKEM768, None)

    def test_another_post_quantum_group_is_not(self) -> None:
        allowed = (G.X25519MLKEM768, G.x25519, G.SecP256r1MLKEM768)
        shares = {G.x25519: b"x", G.SecP256r1MLKEM768: b"h"}
        assert choose_group(allowed, shares, allowed) == (G.SecP256r1MLKEM768, b"h")

    def test_a_server_that_puts_it_last_does_not_insist(self) -> None:
        allowed = (G.x25519, G.X25519MLKEM768)
        assert choose_group(allowed, {G.x25519: b"x"}, allowed) == (G.x25519, b"x")

    def test_no_share_at_all(self) -> None:
        assert choose_group((G.secp384r1, G.x25519), {}, (G.x25519, G.secp384r1)) == (G.x25519, None)

    @pytest.mark.parametrize("offered", [(), (0x2A2A,), (G.ffdhe2048, G.secp521r1)])
    def test_none_in_common(self, offered: tuple[int, ...]) -> None:
        shares = dict.fromkeys(offered, b"share")
        assert fault_of(choose_group, offered, shares, (G.x25519,)) is Fault.NO_COMMON_GROUP

    @bounded(200)
    @given(offered=GROUP_LISTS, allowed=st.lists(st.sampled_from(GROUPS), unique=True, min_size=1), data=st.data())
    def test_rules(self, offered: list[int], allowed: list[G], data: st.DataObject) -> None:
        """Always a common group; never a weaker kind than the server's favourite; a share wherever that allows one."""
        shared = data.draw(st.lists(st.sampled_from(offered), unique=True)) if offered else []
        shares = {group: b"%d" % group for group in shared}
        common = [group for group in allowed if group in offered]
        if not common:
            assert fault_of(choose_group, offered, shares, allowed) is Fault.NO_COMMON_GROUP
            return
        group, share = choose_group(offered, shares, allowed)
        assert group in common
        assert share == shares.get(group)
        fit = [one for one in common if one in POST_QUANTUM or common[0] not in POST_QUANTUM]
        assert group in fit
        assert (share is None) is not any(one in shares for one in fit)


class TestChooseSignature:
    def test_order_is_that_of_the_key(self, authority: Authority) -> None:
        issued = authority.issue("localhost", key_type="rsa2048")
        identity = Identity.from_crypto(issued.certificates, issued.private_key)
        everything = tuple(reversed(S))
        assert choose_signature(everything, identity) is identity.schemes[0]
        assert choose_signature((S.rsa_pss_rsae_sha512, S.rsa_pss_rsae_sha384), identity) is S.rsa_pss_rsae_sha384

    @pytest.mark.parametrize("offered", [(), (S.ed25519,), (S.ecdsa_secp384r1_sha384, 0x3A3A), (S.ecdsa_sha1,)])
    def test_none(self, server_identity: Identity, offered: tuple[int, ...]) -> None:
        assert choose_signature(offered, server_identity) is None

    def test_pkcs1_never_signs_a_handshake(self, authority: Authority) -> None:
        """Section 4.3.3: peers list it, for certificates."""
        issued = authority.issue("localhost", key_type="rsa2048")
        identity = Identity.from_crypto(issued.certificates, issued.private_key)
        assert choose_signature((S.rsa_pkcs1_sha256, S.rsa_pkcs1_sha512, S.rsa_pkcs1_sha1), identity) is None


class TestChooseAlpn:
    def test_order_is_the_servers(self) -> None:
        assert choose_alpn(("http/1.1", "h2"), ("h2", "http/1.1")) == "h2"
        assert choose_alpn(("http/1.1", "h2"), ("spdy", "http/1.1")) == "http/1.1"

    @pytest.mark.parametrize("offered", [None, (), ("h2",)])
    def test_a_server_without_protocols_speaks_of_none(self, offered: tuple[str, ...] | None) -> None:
        assert choose_alpn(offered, ()) is None

    @pytest.mark.parametrize("offered", [None, ()])
    def test_a_client_without_protocols(self, offered: tuple[str, ...] | None) -> None:
        assert choose_alpn(offered, ("h2",)) is None

    def test_names_are_compared_as_bytes(self) -> None:
        """RFC 7301 section 3.1: case counts."""
        assert fault_of(choose_alpn, ("H2",), ("h2",)) is Fault.NO_COMMON_ALPN


@pytest.fixture(scope="module")
def make(authority: Authority) -> Callable[..., Identity]:
    """An identity with a certificate of the tests' authority, or of a stranger."""
    other = Authority("somebody else")

    def issue(*names: str, key_type: str = "p256", stranger: bool = False) -> Identity:
        issued = (other if stranger else authority).issue(*names, key_type=key_type)
        return Identity.from_crypto(issued.certificates, issued.private_key)

    return issue


class TestChooseIdentity:
    """First what the client can verify, then the name, then who issued it, then the order of the list."""

    def choose(self, identities: list[Identity], name: str | None = None, **more: tuple[object, ...]) -> Identity:
        return choose_identity(identities, name, more.get("schemes", tuple(S)), more.get("authorities", ()))

    def test_by_name(self, make: Callable[..., Identity]) -> None:
        one, two = make("one.example"), make("two.example")
        assert self.choose([one, two], "two.example") is two
        assert self.choose([one, two], "one.example") is one

    def test_by_wildcard(self, make: Callable[..., Identity]) -> None:
        one, wild = make("one.example"), make("*.two.example")
        assert self.choose([one, wild], "www.two.example") is wild
        assert self.choose([one, wild], "a.b.two.example") is one

    @pytest.mark.parametrize("name", [None, "three.example"])
    def test_the_first_for_everybody_else(self, make: Callable[..., Identity], name: str | None) -> None:
        one, two = make("one.example"), make("two.example")
        assert self.choose([one, two], name) is one

    def test_what_the_client_cannot_verify_is_not_shown(self, make: Callable[..., Identity]) -> None:
        """Even if only that has the name."""
        named, able = make("a.example", key_type="ed25519"), make("b.example")
        assert self.choose([named, able], "a.example", schemes=(S.ecdsa_secp256r1_sha256,)) is able

    def test_key_types_for_one_name(self, make: Callable[..., Identity]) -> None:
        modern, old = make("a.example", key_type="ed25519"), make("a.example")
        assert self.choose([modern, old], "a.example") is modern
        assert self.choose([modern, old], "a.example", schemes=(S.ecdsa_secp256r1_sha256,)) is old

    def test_by_issuer(self, make: Callable[..., Identity]) -> None:
        strange, own = make("a.example", stranger=True), make("a.example")
        assert self.choose([strange, own], "a.example", authorities=own.issuers) is own
        assert self.choose([strange, own], "a.example", authorities=(b"0\0",)) is strange

    def test_name_outranks_issuer(self, make: Callable[..., Identity]) -> None:
        strange, own = make("a.example", stranger=True), make("b.example")
        assert self.choose([strange, own], "a.example", authorities=own.issuers) is strange

    def test_none_that_the_client_can_verify(self, make: Callable[..., Identity]) -> None:
        with pytest.raises(PeerFault, match="the client can verify: ed25519") as found:
            self.choose([make("a.example")], "a.example", schemes=(S.ed25519,))
        assert found.value.fault is Fault.NO_COMMON_SIGNATURE

    def test_none_at_all(self) -> None:
        """The configuration has hooks instead, which are asked elsewhere."""
        assert fault_of(self.choose, []) is Fault.NO_COMMON_SIGNATURE


class TestHelloUnchanged:
    FIRST = client_hello(versions(0x0304) | {X.key_share: b"a", X.server_name: b"n", X.cookie: b"c", 0x1234: b"?"})

    def second(self, **changes: object) -> ClientHello:
        return attrs.evolve(self.FIRST, **changes)

    def extended(self, number: int, content: bytes | None) -> ClientHello:
        extensions = dict(self.FIRST.extensions or {})
        extensions.pop(number, None)
        return self.second(extensions=extensions if content is None else extensions | {number: content})

    def test_the_same(self) -> None:
        check_hello_unchanged(self.FIRST, self.second())

    @pytest.mark.parametrize("number", [X.key_share, X.cookie, X.pre_shared_key, X.padding])
    @pytest.mark.parametrize("content", [None, b"", b"other"])
    def test_what_may_change(self, number: int, content: bytes | None) -> None:
        check_hello_unchanged(self.FIRST, self.extended(number, content))

    def test_early_data_may_go(self) -> None:
        first = self.extended(X.early_data, b"")
        check_hello_unchanged(first, self.FIRST)

    def test_order_of_extensions_is_nobodys_business(self) -> None:
        extensions = dict(reversed((self.FIRST.extensions or {}).items()))
        check_hello_unchanged(self.FIRST, self.second(extensions=extensions))

    @pytest.mark.parametrize(
        "change",
        [
            {"random": b"\1" * 32},
            {"session_id": b""},
            {"cipher_suites": SUITES[:2]},
            {"cipher_suites": SUITES[::-1]},
            {"legacy_version": 0x0302},
            {"compression_methods": b"\0\0"},
            {"extensions": None},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_fields_that_may_not(self, change: dict[str, object]) -> None:
        assert fault_of(check_hello_unchanged, self.FIRST, self.second(**change)) is Fault.HELLO_CHANGED

    @pytest.mark.parametrize(
        ("number", "content"),
        [(X.server_name, b"other"), (X.server_name, None), (0x1234, b"!"), (0x1234, None), (X.supported_groups, b"")],
    )
    def test_extensions_that_may_not(self, number: int, content: bytes | None) -> None:
        second = self.extended(number, content)
        assert fault_of(check_hello_unchanged, self.FIRST, second) is Fault.HELLO_CHANGED


class TestCheckVersion:
    def test_tls13(self) -> None:
        check_version(server_hello())

    @pytest.mark.parametrize("selected", [0x0303, 0x0302, 0x0305, 0x7F1C, 0x0A0A])
    def test_a_version_that_was_not_offered(self, selected: int) -> None:
        assert fault_of(check_version, server_hello(selected)) is Fault.VERSION_NOT_OFFERED

    @pytest.mark.parametrize("legacy", [0x0301, 0x0303, 0x0304])
    def test_old_server(self, legacy: int) -> None:
        hello = server_hello(None, legacy_version=legacy)
        assert fault_of(check_version, hello) is Fault.NO_COMMON_VERSION

    @pytest.mark.parametrize("mark", [b"DOWNGRD\1", b"DOWNGRD\0"])
    def test_downgrade(self, mark: bytes) -> None:
        assert fault_of(check_version, server_hello(None, random=bytes(24) + mark)) is Fault.DOWNGRADE

    @pytest.mark.parametrize("mark", [b"DOWNGRD\1", b"DOWNGRD\0"])
    def test_the_mark_means_nothing_in_tls13(self, mark: bytes) -> None:
        check_version(server_hello(random=bytes(24) + mark))

    @pytest.mark.parametrize("random", [b"DOWNGRD\1" + bytes(24), bytes(24) + b"DOWNGRD\2", bytes(23) + b"DOWNGRD\1\0"])
    def test_the_mark_is_the_end_of_the_random(self, random: bytes) -> None:
        assert fault_of(check_version, server_hello(None, random=random)) is Fault.NO_COMMON_VERSION

    @pytest.mark.parametrize("legacy", [0x0301, 0x0302, 0x0304])
    def test_legacy_version(self, legacy: int) -> None:
        assert fault_of(check_version, server_hello(legacy_version=legacy)) is Fault.LEGACY_VERSION

    @pytest.mark.parametrize("content", [b"", b"\3", b"\3\4\0"])
    def test_malformed(self, content: bytes) -> None:
        hello = server_hello(extensions={X.supported_versions: content})
        assert fault_of(check_version, hello) is Fault.DECODE_ERROR


class TestCheckServerHello:
    RETRY = server_hello(random=HELLO_RETRY_RANDOM)

    @pytest.mark.parametrize("suite", SUITES)
    def test_gives_the_suite(self, suite: C) -> None:
        assert check_server_hello(server_hello(cipher_suite=int(suite)), SESSION, SUITES, None) is suite

    @pytest.mark.parametrize("echo", [b"", SESSION[:-1], SESSION[::-1]])
    def test_session_id(self, echo: bytes) -> None:
        hello = server_hello(session_id=echo)
        assert fault_of(check_server_hello, hello, SESSION, SUITES, None) is Fault.SESSION_ID_ECHO

    def test_compression(self) -> None:
        hello = server_hello(compression_method=1)
        assert fault_of(check_server_hello, hello, SESSION, SUITES, None) is Fault.COMPRESSION

    @pytest.mark.parametrize("suite", [C.TLS_AES_256_GCM_SHA384, 0x1304, 0xC02F, 0x0A0A, 0])
    def test_suite_that_was_not_offered(self, suite: int) -> None:
        hello = server_hello(cipher_suite=suite)
        assert fault_of(check_server_hello, hello, SESSION, SUITES[:1], None) is Fault.SUITE_NOT_OFFERED

    def test_after_a_retry(self) -> None:
        assert check_server_hello(server_hello(), SESSION, SUITES, self.RETRY) is SUITES[0]

    def test_suite_changed_after_a_retry(self) -> None:
        hello = server_hello(cipher_suite=SUITES[1])
        assert fault_of(check_server_hello, hello, SESSION, SUITES, self.RETRY) is Fault.SUITE_CHANGED

    @pytest.mark.parametrize("selected", [0x0303, 0x0305, None])
    def test_version_changed_after_a_retry(self, selected: int | None) -> None:
        hello = server_hello(selected)
        assert fault_of(check_server_hello, hello, SESSION, SUITES, self.RETRY) is Fault.VERSION_CHANGED

    def test_version_comes_first(self) -> None:
        """An old server is told from a broken one: it knows nothing of session ids in TLS 1.3."""
        hello = server_hello(None, session_id=b"", cipher_suite=0xC02F)
        assert fault_of(check_server_hello, hello, SESSION, SUITES, None) is Fault.NO_COMMON_VERSION


class TestCheckAlpn:
    def test_none(self) -> None:
        assert check_alpn(None, ("h2",)) is None

    def test_one_of_those_offered(self) -> None:
        assert check_alpn(ext.encode_alpn(["h2"]), ("http/1.1", "h2")) == "h2"

    @pytest.mark.parametrize("name", ["spdy", "H2", "h"])
    def test_another(self, name: str) -> None:
        assert fault_of(check_alpn, ext.encode_alpn([name]), ("h2",)) is Fault.ALPN_NOT_OFFERED

    @pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\1\0", b"\0\3\2h2\0", ext.encode_alpn(["h2", "h2"])])
    def test_malformed(self, content: bytes) -> None:
        """Not exactly one name."""
        assert fault_of(check_alpn, content, ("h2",)) is Fault.DECODE_ERROR


class TestWhatIsTold:
    """The text of a fault goes into logs: it must not carry a stranger's control characters, nor his megabytes."""

    def test_names_of_protocols_are_quoted(self) -> None:
        hostile = "h2\nINFO all is well\x1b[2J\x00"
        for refuse in (
            lambda: choose_alpn((hostile,), ("http/1.1",)),
            lambda: check_alpn(ext.encode_alpn([hostile]), ("h2",)),
        ):
            with pytest.raises(PeerFault) as found:
                refuse()
            assert str(found.value).isprintable()

    def test_long_offers_are_cut(self) -> None:
        numbers = range(0x2000, 0x5000)
        for refuse in (
            lambda: choose_suite(numbers, SUITES),
            lambda: choose_group(numbers, {}, (G.x25519,)),
            lambda: choose_identity([], None, numbers, ()),
            lambda: choose_alpn([f"{number:0250}" for number in range(90)], ("h2",)),
        ):
            with pytest.raises(PeerFault) as found:
                refuse()
            assert len(str(found.value)) < 4000

    def test_grease_is_shown_as_it_is(self) -> None:
        grease = [number for number in range(0x10000) if is_grease(number)]
        with pytest.raises(PeerFault, match="offered: 0x0a0a, 0x1a1a, 0x2a2a"):
            choose_suite(grease, SUITES)
