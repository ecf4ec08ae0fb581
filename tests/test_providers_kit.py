"""The kit finds what is wrong: each provider here is the native one with one thing spoilt, and a check sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from zope.interface import implementer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import TLSError, TruncatedError
from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.providers import get_provider
from tlsprovider.testing import CHECKS, Bench, Report, check_provider, run_check
from tlsprovider.testing import bench as kit_bench


@implementer(ITLSProvider)
class Spoilt:
    """The native provider; subclasses spoil it."""

    name = "spoilt"
    description = "for tests"

    def supports(self, feature: str) -> bool:
        return get_provider("native").supports(feature)

    def config(self, config: Any) -> Any:
        return config

    def engine(self, engine: Any) -> Any:
        return engine

    def client_engine(self, config: ClientConfig, server_hostname: str | None = None) -> IEngine:
        return self.engine(get_provider("native").client_engine(self.config(config), server_hostname))

    def server_engine(self, config: ServerConfig) -> IEngine:
        return self.engine(get_provider("native").server_engine(self.config(config)))


@implementer(IEngine)
class Around:
    """An engine whose methods can be replaced."""

    def __init__(self, engine: Any) -> None:
        self.inner = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def without(**fields: object) -> type[Spoilt]:
    """Fields of a configuration that are set to something else, whatever the user says."""

    class Ignoring(Spoilt):
        def config(self, config: Any) -> Any:
            known = {field.alias for field in attrs.fields(type(config))}
            return attrs.evolve(config, **{name: value for name, value in fields.items() if name in known})

    return Ignoring


def around(**methods: Callable[..., Any]) -> type[Spoilt]:
    """Methods of engines that do something else."""

    class Other(Around):
        pass

    for name, method in methods.items():
        setattr(Other, name, method)

    class Spoiling(Spoilt):
        def engine(self, engine: Any) -> Any:
            return Other(engine)

    return Spoiling


def denying(*features: str) -> type[Spoilt]:
    class Denying(Spoilt):
        def supports(self, feature: str) -> bool:
            return feature not in features and super().supports(feature)

    return Denying


def claiming(*features: str) -> type[Spoilt]:
    class Claiming(Spoilt):
        def supports(self, feature: str) -> bool:
            return feature in features or super().supports(feature)

    return Claiming


def forgiving_handshake(engine: Any) -> None:
    """A failure that is told once and then forgotten."""
    if not getattr(engine, "told", False):
        try:
            engine.inner.do_handshake()
        except TLSError:
            engine.told = True
            raise


def end_for_truncation(engine: Any, max_bytes: int | None = None) -> Any:
    try:
        return engine.inner.read(max_bytes)
    except TruncatedError:
        return b""


def keep_what_is_fed(engine: Any, data: Any) -> None:
    """Feed the object later, when it may have changed."""
    kept = getattr(engine, "kept", None)
    engine.kept = data
    if kept is not None:
        engine.inner.process_incoming(kept)


def swallow(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def swallowing(question: Any) -> Any:
        try:
            return hook(question)
        except Exception:
            return True

    return swallowing


class SwallowsHooks(Spoilt):
    def config(self, config: Any) -> Any:
        hook = config.verify_peer
        return config if hook is None else attrs.evolve(config, verify_peer=swallow(hook))


class AlwaysSecond(Spoilt):
    """Shows another certificate than was asked for."""

    def config(self, config: Any) -> Any:
        return config if isinstance(config, ClientConfig) else attrs.evolve(config, identities=config.identities[::-1])


SPOILT = {
    "believes everybody": (without(insecure_skip_verify=True), "unknown_issuer"),
    "checks no name": (without(insecure_skip_verify=True), "wrong_name"),
    "checks no purpose": (without(insecure_skip_verify=True), "wrong_purpose"),
    "believes every client": (without(insecure_skip_verify=True), "refused_client"),
    "has another clock": (without(clock=__import__("time").time), "expired"),
    "asks no client": (without(client_auth="none"), "no_client_certificate[server]"),
    "insists on no certificate": (without(client_auth="request"), "no_client_certificate[server]"),
    "shows no certificate": (without(identity=None), "client_certificate[client]"),
    "ignores alpn": (without(alpn=()), "alpn[client]"),
    "takes any protocol": (without(alpn=()), "no_common_alpn[server]"),
    "ignores suites": (without(cipher_suites=["TLS_AES_128_GCM_SHA256"]), "cipher_suites[client]"),
    "ignores groups": (without(groups=["x25519"], key_shares=None), "groups[server]"),
    "ignores the key log": (without(keylog=None), "keylog[client]"),
    "ignores listeners": (without(on_event=None), "events[server]"),
    "doesn't ask": (without(verify_peer=None), "verify_peer[server]"),
    "doesn't ask about the hello": (without(on_client_hello=None), "client_hello"),
    "doesn't ask whom to show": (without(choose_identity=None), "choose_identity"),
    "lets failed hooks pass": (SwallowsHooks, "verify_peer_fails[client]"),
    "shows the wrong certificate": (AlwaysSecond, "identities"),
    "denies what it can": (denying("alpn"), "refusals"),
    "claims what it can't": (claiming("TLSv1.2"), "refusals"),
    "claims anything": (claiming("no such feature"), "interfaces"),
    "forgets failures": (around(do_handshake=forgiving_handshake), "garbage[client]"),
    "takes a cut for an end": (around(read=end_for_truncation), "truncation[client]"),
    "keeps buffers": (around(process_incoming=keep_what_is_fed), "big_data[server]"),
    "never has enough": (around(wants_input=True), "back_pressure[client]"),
    "counts wrongly": (around(pending=0), "reading[server]"),
    "loses what follows": (around(trailing_bytes=lambda engine: b""), "trailing_bytes[client]"),
    "changes no keys": (around(key_update=lambda engine, request=False: None), "key_update[client]"),
    "exports the wrong thing": (
        around(export_keying_material=lambda engine, label, context, length: bytes(length)),
        "exporter[client]",
    ),
    "sends empty records": (around(write=lambda engine, data: engine.inner.write(data or b" ")), "reading[client]"),
    "is never complete": (around(handshake_complete=False), "handshake[server]"),
}


@pytest.mark.parametrize(("kind", "name"), SPOILT.values(), ids=SPOILT)
def test_finds(kind: type[Spoilt], name: str) -> None:
    assert run_check("native", name)
    with pytest.raises((AssertionError, TLSError)):
        run_check(kind(), name)


def test_report(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(CHECKS) - {"interfaces", "older_version[client]", "addresses"}:
        monkeypatch.delitem(CHECKS, name)
    report = check_provider("native")
    assert isinstance(report, Report)
    assert report.provider == "native"
    assert set(report.passed) == {"interfaces", "addresses"}
    assert report.skipped == ("older_version[client]",)
    assert report.refused == {"TLSv1.2"}


def test_report_of_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(CHECKS) - {"interfaces", "wrong_name", "unknown_issuer", "addresses"}:
        monkeypatch.delitem(CHECKS, name)
    with pytest.raises(ExceptionGroup, match="the provider 'spoilt' fails 3 of 4 checks") as caught:
        check_provider(without(insecure_skip_verify=True)())
    notes = sorted(note for problem in caught.value.exceptions for note in problem.__notes__)
    assert notes == ["in the check addresses", "in the check unknown_issuer", "in the check wrong_name"]


class TestBench:
    """The parts that the checks are made of can fail."""

    def test_must_and_equal(self) -> None:
        kit_bench.must(1, "fine")
        kit_bench.equal(1, 1, "fine")
        with pytest.raises(AssertionError, match="no good"):
            kit_bench.must(0, "no good")
        with pytest.raises(AssertionError, match="one and two: expected 2, found 1"):
            kit_bench.equal(1, 2, "one and two")

    def test_raises(self) -> None:
        assert isinstance(kit_bench.raises(ValueError, "fine", int, "x"), ValueError)
        with pytest.raises(AssertionError, match="no error: expected ValueError, got the result 1"):
            kit_bench.raises(ValueError, "no error", int, "1")
        with pytest.raises(AssertionError, match="another: expected KeyError, got ValueError"):
            kit_bench.raises(KeyError, "another", int, "x")

    def test_a_handshake_that_stands_still(self) -> None:
        bench = Bench(get_provider("native"))
        pair = bench.pair("client")
        silent = kit_bench.Pair(pair.mine, Around(bench.pair("server").mine), "client")
        silent.other.process_outgoing = lambda: b""  # type: ignore[attr-defined]
        with pytest.raises(AssertionError, match="stands still: client in read_server_hello"):
            silent.pump()
