"""The registry: who is found under which name, what happens to the broken, the process's default, and ``auto``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
from loop import pump
from zope.interface import implementer

import tlsprovider
from tlsprovider import providers
from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import ConfigError, UnsupportedByProvider
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.providers import BUILT_IN, get_provider, list_providers
from tlsprovider.providers.table import markdown, rows
from tlsprovider.trust import TrustStore

ROOT = Path(__file__).parent.parent
CACHES = (providers._entry_points, providers._load, providers._report)


@implementer(ITLSProvider)
class Stranger:
    """A third party's provider, which leaves the work to the native one."""

    description = "for tests"

    def __init__(self, name: str, features: frozenset[str] = frozenset(("TLSv1.3",))) -> None:
        self.name = name
        self.features = features

    def supports(self, feature: str) -> bool:
        return feature in self.features

    def client_engine(self, config: ClientConfig, server_hostname: str | None = None) -> IEngine:
        return get_provider("native").client_engine(config, server_hostname)

    def server_engine(self, config: ServerConfig) -> IEngine:
        return get_provider("native").server_engine(config)


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Pretend that packages with these entry points are installed: name -> object, in a module of its own."""
    module = ModuleType("third_party")
    monkeypatch.setitem(sys.modules, "third_party", module)
    points: list[EntryPoint] = []

    def put(name: str, provider: Any = None, attribute: str | None = None, value: str | None = None) -> None:
        attribute = attribute or name
        if provider is not None:
            setattr(module, attribute, provider)
        points.append(EntryPoint(name, value or f"third_party:{attribute}", providers.GROUP))

    monkeypatch.setattr(providers, "entry_points", lambda group: points)
    for cached in CACHES:
        cached.cache_clear()
    yield put
    for cached in CACHES:
        cached.cache_clear()


def names() -> list[str]:
    return [provider.name for provider in list_providers()]


class TestNames:
    def test_ours(self) -> None:
        assert names()[:3] == ["native", "openssl", "stdlib"]
        for name in BUILT_IN:
            assert get_provider(name).name == name
            assert get_provider(name) is get_provider(name)

    def test_public(self) -> None:
        assert tlsprovider.get_provider is get_provider
        assert tlsprovider.list_providers is list_providers

    def test_an_object_is_its_own_name(self) -> None:
        stranger = Stranger("mine")
        assert get_provider(stranger) is stranger

    def test_unknown(self) -> None:
        with pytest.raises(
            ConfigError, match=r"unknown provider 'opensll'; did you mean 'openssl'\? Installed: .*stdlib"
        ):
            get_provider("opensll")

    def test_no_provider_at_all(self) -> None:
        with pytest.raises(ConfigError, match="expected a name or an ITLSProvider, got 7"):
            get_provider(7)  # type: ignore[arg-type]


class TestThirdParties:
    def test_found_by_name(self, install: Install) -> None:
        mine = Stranger("mine")
        install("mine", mine)
        assert get_provider("mine") is mine
        assert names() == ["native", "openssl", "stdlib", "mine"]

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("no_such_module:provider", "No module named 'no_such_module'"),
            ("third_party:nothing", "has no attribute 'nothing'"),
        ],
    )
    def test_broken(self, install: Install, caplog: pytest.LogCaptureFixture, value: str, problem: str) -> None:
        install("broken", value=value)
        install("fine", Stranger("fine"))
        with caplog.at_level(logging.WARNING):
            assert names() == ["native", "openssl", "stdlib", "fine"]
            assert names() == ["native", "openssl", "stdlib", "fine"]
        [record] = caplog.records
        assert "'broken' is not available" in record.getMessage()
        assert problem in record.getMessage()
        with pytest.raises(ConfigError, match="the provider 'broken' can't be loaded: .*" + problem):
            get_provider("broken")
        assert get_provider("fine").name == "fine"

    def test_not_a_provider(self, install: Install, caplog: pytest.LogCaptureFixture) -> None:
        install("odd", "text")
        assert "odd" not in names()
        with pytest.raises(ConfigError, match="the provider 'odd' is no ITLSProvider: third_party:odd is 'text'"):
            get_provider("odd")

    def test_another_name_than_its_entry_point(self, install: Install, caplog: pytest.LogCaptureFixture) -> None:
        install("mine", Stranger("yours"))
        assert "yours" not in names()
        with pytest.raises(ConfigError, match="the provider 'mine' calls itself 'yours'"):
            get_provider("mine")

    @pytest.mark.parametrize("name", ["native", "openssl", "auto"])
    def test_our_names_are_taken(self, install: Install, caplog: pytest.LogCaptureFixture, name: str) -> None:
        ours = get_provider(name)
        for cached in CACHES:
            cached.cache_clear()
        install(name, Stranger(name))
        assert get_provider(name) is ours
        assert "third_party" in caplog.text and "has a name that is taken" in caplog.text

    def test_two_strangers_with_one_name(self, install: Install, caplog: pytest.LogCaptureFixture) -> None:
        """Which one it is doesn't depend on the order in which packages were installed, and is reported."""
        second, first = Stranger("mine"), Stranger("mine")
        install("mine", second, "b")
        install("mine", first, "a")
        assert get_provider("mine") is first
        assert "third_party:b has a name that is taken" in caplog.text

    def test_the_same_entry_point_twice(self, install: Install, caplog: pytest.LogCaptureFixture) -> None:
        """As when a package is on the path twice."""
        install("mine", Stranger("mine"))
        install("mine")
        assert names() == ["native", "openssl", "stdlib", "mine"]
        assert not caplog.records

    def test_own_entry_points_are_no_strangers(self, install: Install, caplog: pytest.LogCaptureFixture) -> None:
        for name, value in BUILT_IN.items():
            install(name, value=value)
        assert names() == list(BUILT_IN)
        assert not caplog.records


class TestDefault:
    def test_native(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TLSPROVIDER_DEFAULT", raising=False)
        assert get_provider().name == get_provider(None).name == "native"

    @pytest.mark.parametrize("name", ["openssl", "stdlib", "auto", "native"])
    def test_environment(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv("TLSPROVIDER_DEFAULT", name)
        assert get_provider().name == name
        assert get_provider("native").name == "native"

    def test_empty_is_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TLSPROVIDER_DEFAULT", "")
        assert get_provider().name == "native"

    def test_wrong_word(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TLSPROVIDER_DEFAULT", "openss")
        with pytest.raises(ConfigError, match="TLSPROVIDER_DEFAULT: unknown provider 'openss'; did you mean 'openssl'"):
            get_provider()


def who(engine: IEngine) -> str:
    """Whose engine it is, by its repr."""
    return repr(engine).partition(" ")[0].strip("<") + repr(engine).split(" ")[1]


class TestAuto:
    auto = property(lambda self: get_provider("auto"))

    def test_native_when_it_can(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client = self.auto.client_engine(client_config, "localhost")
        server = self.auto.server_engine(server_config)
        assert who(client) == "NativeEngineclient"
        assert who(server) == "NativeEngineserver"
        pump(client, server)

    def test_the_first_that_can(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        old = {"min_version": "TLSv1.2"}
        client = self.auto.client_engine(attrs.evolve(client_config, **old), "localhost")
        server = self.auto.server_engine(attrs.evolve(server_config, **old))
        assert who(client) == who(server) == "LibraryEngineopenssl"
        pump(client, server)

    def test_third_parties_come_last(self, install: Install, client_config: ClientConfig) -> None:
        install("aaa", Stranger("aaa"))
        engine = self.auto.client_engine(attrs.evolve(client_config, min_version="TLSv1.2"), "localhost")
        assert who(engine) == "LibraryEngineopenssl"

    def test_nobody_can(self, client_config: ClientConfig) -> None:
        config = attrs.evolve(client_config, min_version="TLSv1.2", entropy=bytes)
        with pytest.raises(UnsupportedByProvider) as caught:
            self.auto.client_engine(config, "localhost")
        text = str(caught.value)
        assert "'native' lacks min_version='TLSv1.2'" in text
        assert "'openssl' lacks entropy=..." in text
        assert "'stdlib' lacks entropy=..." in text

    def test_other_errors_are_not_hidden(self, client_config: ClientConfig) -> None:
        with pytest.raises(ConfigError, match="server_hostname"):
            self.auto.client_engine(client_config, None)

    def test_supports_what_any_does(self) -> None:
        assert self.auto.supports("TLSv1.2") and self.auto.supports("SignHandshake")
        assert not self.auto.supports("SSLv3")

    def test_is_not_on_the_list(self) -> None:
        assert "auto" not in names()


class TestWhoCan:
    """A refusal names the providers that could."""

    def refusal(self, provider: str, config: ClientConfig | ServerConfig) -> UnsupportedByProvider:
        found = get_provider(provider)
        with pytest.raises(UnsupportedByProvider) as caught:
            if isinstance(config, ClientConfig):
                found.client_engine(config, "localhost")
            else:
                found.server_engine(config)
        return caught.value

    def test_older_version(self, client_config: ClientConfig) -> None:
        refusal = self.refusal("native", attrs.evolve(client_config, min_version="TLSv1.2"))
        assert (refusal.feature, refusal.provider) == ("min_version='TLSv1.2'", "native")
        assert str(refusal).endswith("; use the provider 'openssl' or 'stdlib'")

    def test_nobody(self, client_config: ClientConfig) -> None:
        refusal = self.refusal("openssl", attrs.evolve(client_config, min_version="TLSv1"))
        assert refusal.feature == "min_version='TLSv1'"
        assert refusal.who_can == ""

    def test_external_key(self, server_config: ServerConfig, server_identity: Identity) -> None:
        external = Identity.with_signer(server_identity.certificates, server_identity.sign)
        refusal = self.refusal("stdlib", attrs.evolve(server_config, identities=[external]))
        assert str(refusal) == (
            "the provider 'stdlib' does not support an identity whose key lives elsewhere; use the provider 'native'"
        )

    def test_lists_as_they_were_written(self, client_config: ClientConfig) -> None:
        refusal = self.refusal("openssl", attrs.evolve(client_config, groups=["x25519", "secp256r1"]))
        assert refusal.feature == "groups=['x25519', 'secp256r1']"

    def test_nothing_that_a_callable_may_hold(self, client_config: ClientConfig) -> None:
        secret = b"the secret of the tests"
        refusal = self.refusal("stdlib", attrs.evolve(client_config, entropy=secret.ljust))
        assert refusal.feature == "entropy=..."

    def test_third_parties_are_named_too(self, install: Install, client_config: ClientConfig) -> None:
        install("mine", Stranger("mine", frozenset(("TLSv1.2",))))
        refusal = self.refusal("native", attrs.evolve(client_config, min_version="TLSv1.2"))
        assert refusal.who_can == "the provider 'openssl' or 'stdlib' or 'mine'"


class TestTable:
    def test_page_has_it(self) -> None:
        page = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
        assert markdown() in page, "put in what python -m tlsprovider.providers.table prints"

    def test_says_what_supports_says(self) -> None:
        stranger = Stranger("mine", frozenset(("TLSv1.3", "x25519")))
        found = {row.feature: row.cells for row in rows([get_provider("native"), stranger])}
        assert found["TLSv1.3"] == ("yes", "yes")
        assert found["TLSv1.2"] == ("no", "no")
        assert found["x25519"] == ("yes", "yes")
        assert found["ed25519"] == ("yes", "no")


def test_trust_store_and_identity_give_out_what_providers_need(
    trust: TrustStore, authority: Any, server_identity: Identity
) -> None:
    assert trust.certificates == (authority.certificate,)
    assert TrustStore.pinned(bytes(32)).certificates == ()
    assert server_identity.private_key is not None
    assert "private_key" not in repr(server_identity)
    assert Identity.with_signer(server_identity.certificates, server_identity.sign).private_key is None
