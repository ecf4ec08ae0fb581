"""Chains verified a moment ago: a success is taken again only for the same, and only while it would be one."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

import attrs
import pytest
from cryptography import x509
from cryptography.x509 import Certificate
from loop import pump

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto import remembered
from tlsprovider.crypto.authority import Authority
from tlsprovider.crypto.certificates import certificate_der
from tlsprovider.crypto.chains import ChainVerifier
from tlsprovider.errors import CertificateFault, Fault
from tlsprovider.providers import get_provider
from tlsprovider.trust import TrustStore

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
YEAR, MINUTE = datetime.timedelta(days=365), datetime.timedelta(minutes=1)
NOW = (START + YEAR / 2).timestamp()
SERVER, CLIENT = "server", "client"


class Counted:
    """How many chains were verified in full."""

    def __init__(self) -> None:
        self.count = 0


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    counted = Counted()
    for name in ("_find_server", "_find_client"):
        original = getattr(ChainVerifier, name)

        def find(*arguments: object, _original: object = original) -> object:
            counted.count += 1
            return _original(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(ChainVerifier, name, find)
    yield counted


@pytest.fixture(scope="module")
def dated() -> Authority:
    return Authority("remembered", not_before=START, not_after=START + 2 * YEAR)


@pytest.fixture
def store(dated: Authority) -> TrustStore:
    return TrustStore.from_crypto([dated.certificate])


def issue(dated: Authority, *, client: bool = False, intermediates: int = 1) -> tuple[Certificate, ...]:
    names = ("localhost",) if not client else ("alice@example.com",)
    period = {"not_before": START, "not_after": START + YEAR}
    return dated.issue(*names, client=client, intermediates=intermediates, **period).certificates  # type: ignore[arg-type]


def verify(store: TrustStore, side: str, chain: Sequence[Certificate], now: float) -> tuple[Certificate, ...]:
    if side == SERVER:
        return store.verify_server(chain, "localhost", now)
    return store.verify_client(chain, now)


def refused(store: TrustStore, side: str, chain: Sequence[Certificate], now: float) -> Fault:
    with pytest.raises(CertificateFault) as caught:
        verify(store, side, chain, now)
    return caught.value.fault


@pytest.mark.parametrize("side", [SERVER, CLIENT])
class TestTheSameAgain:
    def test_is_remembered(self, dated: Authority, store: TrustStore, side: str, full: Counted) -> None:
        chain = issue(dated, client=side == CLIENT)
        first = verify(store, side, chain, NOW)
        assert first == (*chain, dated.certificate)
        for later in (0, 1, 299.9):
            assert verify(store, side, list(chain), NOW + later) == first
        assert full.count == 1

    def test_not_for_ever(self, dated: Authority, store: TrustStore, side: str, full: Counted) -> None:
        chain = issue(dated, client=side == CLIENT)
        for later in (0, 300, 300 + 299, 300 + 300):
            verify(store, side, chain, NOW + later)
        assert full.count == 3

    def test_not_before_it_was_found(self, dated: Authority, store: TrustStore, side: str, full: Counted) -> None:
        """A clock that was set back: what is from its future is not believed."""
        chain = issue(dated, client=side == CLIENT)
        verify(store, side, chain, NOW)
        verify(store, side, chain, NOW - 1)
        assert full.count == 2


class TestSomethingElse:
    """Each of these differs from what is remembered in one thing."""

    def test_name(self, dated: Authority, store: TrustStore) -> None:
        chain = issue(dated)
        verify(store, SERVER, chain, NOW)
        with pytest.raises(CertificateFault) as caught:
            store.verify_server(chain, "localhost.example", NOW)
        assert caught.value.fault is Fault.CERTIFICATE_NAME

    def test_purpose(self, dated: Authority, store: TrustStore) -> None:
        server, client = issue(dated), issue(dated, client=True)
        verify(store, SERVER, server, NOW)
        verify(store, CLIENT, client, NOW)
        assert refused(store, CLIENT, server, NOW) is Fault.CERTIFICATE_PURPOSE
        with pytest.raises(CertificateFault):
            verify(store, SERVER, client, NOW)

    def test_roots(self, dated: Authority, store: TrustStore) -> None:
        chain = issue(dated)
        verify(store, SERVER, chain, NOW)
        assert refused(TrustStore.from_crypto([Authority("other").certificate]), SERVER, chain, NOW)

    def test_certificates(self, dated: Authority, store: TrustStore, full: Counted) -> None:
        """Another leaf for the same key and name; the same with more behind it; the same in another order."""
        chain = issue(dated, intermediates=2)
        verify(store, SERVER, chain, NOW)
        for other in (issue(dated), (*chain, dated.certificate), (chain[0], *chain[:0:-1])):
            before = full.count
            verify(store, SERVER, other, NOW)
            assert full.count == before + 1

    def test_equal_objects(self, dated: Authority, store: TrustStore, full: Counted) -> None:
        """They are verified as if they were others: nothing has to be compared byte by byte to be sure."""
        chain = issue(dated)
        verify(store, SERVER, chain, NOW)
        again = tuple(x509.load_der_x509_certificate(certificate_der(one)) for one in chain)
        assert again == chain
        verify(store, SERVER, again, NOW)
        assert full.count == 2

    def test_what_is_missing(self, dated: Authority, store: TrustStore) -> None:
        chain = issue(dated)
        verify(store, SERVER, chain, NOW)
        assert refused(store, SERVER, chain[:1], NOW) is Fault.CERTIFICATE_UNKNOWN_ISSUER


class TestTime:
    """Every certificate of the chain counts, at both ends, at each look."""

    @pytest.mark.parametrize("which", ["leaf", "root"])
    def test_expires_while_it_is_remembered(self, which: str) -> None:
        ends = {"leaf": START + 2 * YEAR, "root": START + 2 * YEAR, which: START + YEAR}
        dated = Authority("short", not_before=START, not_after=ends["root"])
        store = TrustStore.from_crypto([dated.certificate])
        chain = dated.issue("localhost", not_before=START, not_after=ends["leaf"]).certificates
        last = (START + YEAR).timestamp()
        verify(store, SERVER, chain, last - 60)
        verify(store, SERVER, chain, last)
        assert refused(store, SERVER, chain, last + 1) is Fault.CERTIFICATE_EXPIRED

    def test_an_intermediate_expires(self) -> None:
        """The authority's own period is that of its intermediates: here it is the first to end."""
        dated = Authority("short", not_before=START, not_after=START + YEAR)
        chain = dated.issue("localhost", intermediates=1, not_before=START, not_after=START + 2 * YEAR).certificates
        store = TrustStore.from_crypto([dated.certificate])
        last = (START + YEAR).timestamp()
        verify(store, SERVER, chain, last - 60)
        assert refused(store, SERVER, chain, last + 1) is Fault.CERTIFICATE_EXPIRED

    def test_both_ends_are_looked_at(self, dated: Authority) -> None:
        """By the memory itself: a success that is valid for one minute around NOW."""
        chain = issue(dated)
        memory = remembered.RememberedChains()
        period = [datetime.datetime.fromtimestamp(NOW, datetime.UTC) + sign * MINUTE for sign in (0, 1)]
        short = dated.issue("localhost", not_before=period[0], not_after=period[1]).certificates
        memory.keep(chain, None, NOW, (*short, dated.certificate))
        assert memory.find(chain, None, NOW) == (*short, dated.certificate)
        assert memory.find(chain, None, NOW + 60) is not None
        assert memory.find(chain, None, NOW + 61) is None
        memory.keep(chain, None, NOW - 10, (*short, dated.certificate))
        assert memory.find(chain, None, NOW - 1) is None


class TestWhatIsNotRemembered:
    def test_failures(self, dated: Authority, full: Counted) -> None:
        store = TrustStore.from_crypto([Authority("other").certificate])
        chain = issue(dated)
        for _ in range(3):
            refused(store, SERVER, chain, NOW)
        assert full.count == 3

    def test_large_chains(self, dated: Authority, store: TrustStore, full: Counted) -> None:
        """Whoever is believed may send more than is needed; it is not kept for them."""
        chain = [*issue(dated), *(dated.certificate for _ in range(20))]
        for _ in range(2):
            verify(store, SERVER, chain, NOW)
        assert full.count == 2

    def test_more_than_a_few(self, dated: Authority) -> None:
        memory = remembered.RememberedChains()
        chain = issue(dated)
        for number in range(3 * remembered.MAX_CHAINS):
            memory.keep((*chain, *chain[: number % 2], *(dated.certificate,) * (number // 50)), None, NOW, chain)
            memory.keep(issue(dated, intermediates=0), None, NOW, chain)
            assert len(memory._known) <= remembered.MAX_CHAINS
        assert memory._known


def test_the_application_is_asked_each_time(client_config: ClientConfig, server_config: ServerConfig) -> None:
    asked: list[object] = []
    config = attrs.evolve(client_config, verify_peer=lambda question: asked.append(question) is None, sessions=None)
    native = get_provider("native")
    for _ in range(3):
        pump(native.client_engine(config, "localhost"), native.server_engine(server_config))
    assert len(asked) == 3
