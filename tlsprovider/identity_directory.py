"""Every certificate in a directory, chosen by name and kept up to date: :class:`IdentityDirectory`.

Files change under a running server: somebody renews a certificate, adds one, takes one away. What that must never do
is break a handshake, so:

1. *Looked at on use.* No thread and no timer. Whoever asks for a certificate causes a look at the files, at most one in
   ``interval`` seconds, and never more than a hundredth of the time: one ``stat`` for each file. Only what has changed
   is read. An unknown name costs nothing more.
2. *Settled first.* A file that has just changed may be half-written, and a chain that lacks its second half still fits
   its key. So a change is read only when it is :data:`SETTLE` seconds old, or was the same at the look before.
3. *The pair or nothing.* Certificate and key are served together when they belong together. Where they don't, or a file
   can't be read, the log says so, once, and the pair that was good before is still served.
4. *Never empty.* When nothing usable is left in the directory, the last state stays, and the log says so.

A connection keeps the certificate that it began with.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, overload

import attrs

from tlsprovider.crypto.certificates import describe_time
from tlsprovider.errors import ConfigError
from tlsprovider.identity import Identity

__all__ = ["IdentityDirectory", "pair_up"]

log = logging.getLogger(__name__)

SETTLE: Final = 1.0
"""Seconds without a change after which a file is taken for complete."""
MAX_FILE: Final = 1 << 20
"""Bytes of the largest file that is read: a chain with its key has about ten thousand."""
DAY: Final = 86400.0

CHAIN_SUFFIXES: Final = (".pem", ".crt", ".cer", ".cert")
# Files that go by what they are rather than by a host: as certbot has them, as others do.
COMMON_KEYS: Final = ("privkey.pem", "key.pem")
COMMON_CHAINS: Final = ("fullchain.pem", "cert.pem")
# Parts of fullchain.pem, beside it.
PARTS: Final = ("cert.pem", "chain.pem")

Stamp = tuple[int, ...]


@attrs.frozen
class Pair:
    """A chain and its key, which may be one file; how to name them, and what they looked like."""

    folder: str
    """Below the directory: empty, or with a slash behind it."""
    chain: str
    key: str
    stamp: Stamp
    changed: float
    """When the younger of the two files was last touched, in seconds since the epoch."""

    @property
    def name(self) -> str:
        return self.folder + self.chain

    @property
    def host(self) -> str:
        """What the files are called after: ``www.example.com.pem``, ``www.example.com/fullchain.pem``."""
        name = self.folder[:-1] if self.folder and self.chain in COMMON_CHAINS else os.path.splitext(self.chain)[0]
        return name.lower()


@attrs.define(eq=False)
class Entry:
    """What is known of one pair."""

    pair: Pair
    tried: Stamp | None = None
    identity: Identity | None = None
    problem: str = ""
    expires: float = 0.0
    warn_at: float = 0.0
    warnings: int = 0


@attrs.frozen(eq=False)
class Index:
    """What is served: all of it, and by which names."""

    identities: tuple[Identity, ...] = ()
    by_name: dict[str, tuple[Identity, ...]] = attrs.field(factory=dict)
    by_host: dict[str, tuple[Identity, ...]] = attrs.field(factory=dict)
    default: tuple[Identity, ...] = ()


class IdentityDirectory(Sequence[Identity]):
    """All certificates of a directory, for ``ServerConfig(identities=IdentityDirectory(path))``.

    Files are noticed when they appear, change or go, without a restart; see the head of this module for what is never
    served. A sequence of the identities of the moment, the default first.

    :param path: the directory. In it, and in its folders (one level deep; hidden ones are passed over), a certificate
        chain is a file ``NAME.pem``, ``.crt``, ``.cer`` or ``.cert``. Its key is ``NAME.key``, ``NAME-key.pem`` or
        ``NAME.key.pem`` beside it; for ``fullchain.pem`` and ``cert.pem`` also ``privkey.pem`` or ``key.pem``; else
        it is in the same file.
    :param password: of the keys, where they are encrypted.
    :param interval: seconds between two looks at the files, at the least.
    :param expiry_warning: how many seconds before a certificate expires the log begins to warn; for short-lived ones
        not before the last quarter of their life.
    :param clock: seconds since the epoch.

    A certificate is chosen by the names in it, exact ones before wildcards; where none fits, by the name of its file
    (``www.example.com.pem``) or folder. Of several the one that is valid now, and longest, comes first. Any other name,
    or none, gets the default: the file or folder called ``default``, else the first in alphabetical order.

    Raises :exc:`ConfigError` when the directory can't be read, or holds nothing that can be served; later, when it
    comes to that, it keeps the last good state and says so in the log of this module.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        password: bytes | str | None = None,
        interval: float = 1.0,
        expiry_warning: float = 14 * DAY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self._password = password
        self._interval = interval
        self._expiry_warning = expiry_warning
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._index = Index()
        self._trouble = ""
        self._looked = clock()
        self._pause = interval
        self._look(self._looked, first=True)
        if not self._index.identities:
            raise ConfigError(f"{self.path}: no certificate with its key in there: {self._excuse()}")

    def __repr__(self) -> str:
        return f"<IdentityDirectory {self.path} with {len(self._index.identities)} certificates>"

    # -- what it is asked ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._current().identities)

    @overload
    def __getitem__(self, index: int) -> Identity: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Identity, ...]: ...
    def __getitem__(self, index: int | slice) -> Identity | tuple[Identity, ...]:
        return self._current().identities[index]

    def for_name(self, server_name: str | None) -> Sequence[Identity]:
        """The certificates for a name, or the default ones; the best first, and never none."""
        index = self._current()
        name = (server_name or "").lower().removesuffix(".")
        _, _, rest = name.partition(".")
        found = (*index.by_name.get(name, ()), *index.by_name.get(f"*.{rest}", ())) if rest else index.by_name.get(name)
        found = found or index.by_host.get(name) or index.default
        if len(found) > 1:
            now = self._clock()
            # Sorting is stable: among the valid ones it remains as the index has it.
            return sorted(found, key=lambda one: not _is_valid(one, now))
        return found

    # -- looking ------------------------------------------------------------------------------------------------------

    def _current(self) -> Index:
        now = self._clock()
        # A clock that was set back must not stop the looking.
        if not self._looked <= now < self._looked + self._pause:
            self._looked = now
            self._look(now)
            # A look at a thousand files takes about ten milliseconds; nobody wants that with each handshake.
            self._pause = max(self._interval, 100 * (self._clock() - now))
        return self._index

    def _look(self, now: float, first: bool = False) -> None:
        """Compare the files with what is known, and read what has changed."""
        try:
            pairs = list(_find_pairs(self.path))
        except OSError as problem:
            self._keep_state(f"can't be read: {problem.strerror}")
            return
        entries: dict[str, Entry] = {}
        changed = False
        for pair in pairs:
            known = self._entries.get(pair.name)
            same_as_before = known is not None and known.pair.stamp == pair.stamp
            entry = entries[pair.name] = known or Entry(pair)
            entry.pair = pair
            if entry.tried != pair.stamp and (first or same_as_before or now - pair.changed >= SETTLE):
                changed = self._load(entry, first) or changed
        changed = changed or entries.keys() != self._entries.keys()
        if not first and not any(entry.identity for entry in entries.values()):
            self._entries |= entries
            self._keep_state("nothing in there can be served any more")
            return
        self._trouble = ""
        for gone in self._entries.keys() - entries.keys():
            log.info("%s: is gone, and not served any more", self._entries[gone].pair.name)
        self._entries = entries
        if changed:
            self._index = _make_index(entries.values())
        self._warn_of_expiry(now)

    def _keep_state(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            if self._index.identities:
                log.warning("%s: %s; the last certificates are still served", self.path, trouble)

    def _load(self, entry: Entry, first: bool) -> bool:
        """Read a pair; whether there is something new to serve."""
        pair = entry.pair
        entry.tried = pair.stamp
        try:
            identity = self._read(pair)
        except Exception as problem:
            # Whatever is wrong with a file, it must not end the handshake that happened to look at it.
            words = str(problem) if isinstance(problem, ConfigError) else f"{type(problem).__name__}: {problem}"
            entry.problem = words.removeprefix(f"{pair.chain}: ")
            state = "its certificate of before is still served" if entry.identity else "it is left out"
            log.warning("%s: %s; %s", pair.name, entry.problem, state)
            return False
        entry.problem = ""
        known = entry.identity
        if known is not None and known.chain_der == identity.chain_der:
            return False
        entry.identity = identity
        leaf = identity.certificates[0]
        entry.expires = leaf.not_valid_after_utc.timestamp()
        life = entry.expires - leaf.not_valid_before_utc.timestamp()
        entry.warn_at, entry.warnings = entry.expires - min(self._expiry_warning, life / 4), 0
        log.log(
            logging.DEBUG if first else logging.INFO,
            "%s: a %s certificate for %s is served from now on, valid until %s",
            pair.name,
            "new" if known is None else "newer",
            ", ".join(identity.names) or pair.host,
            describe_time(leaf.not_valid_after_utc),
        )
        return True

    def _read(self, pair: Pair) -> Identity:
        folder = self.path / pair.folder
        chain, key = _read_file(folder / pair.chain), _read_file(folder / pair.key)
        try:
            identity = Identity._from_pem(chain, pair.chain, key, pair.key, self._password)
        except ConfigError as problem:
            if pair.key != pair.chain:
                raise
            raise ConfigError(f"{problem} (and no {expected_key(pair.chain)} beside it)") from None
        if _stamp((folder / pair.chain).stat(), (folder / pair.key).stat()) != pair.stamp:
            raise ConfigError("its files changed while they were read")
        return identity

    def _warn_of_expiry(self, now: float) -> None:
        """Once when the end comes into sight, and once when it has come."""
        for entry in self._entries.values():
            if entry.identity is None or now < entry.warn_at or entry.warnings > (now >= entry.expires):
                continue
            until = describe_time(entry.identity.certificates[0].not_valid_after_utc)
            if now >= entry.expires:
                entry.warnings = 2
                log.warning("%s: has expired on %s: clients refuse it", entry.pair.name, until)
            else:
                entry.warnings = 1
                days = (entry.expires - now) / DAY
                log.warning("%s: expires in %.1f days, on %s: renew it", entry.pair.name, days, until)

    def _excuse(self) -> str:
        problems = [f"{entry.pair.name}: {entry.problem}" for entry in self._entries.values()]
        return self._trouble or "; ".join(problems[:3]) or f"expected files such as {' or '.join(EXAMPLES)}"


EXAMPLES: Final = ("www.example.com.pem", "www.example.com.crt with www.example.com.key")


# -- files ------------------------------------------------------------------------------------------------------------


def _find_pairs(root: Path) -> Iterator[Pair]:
    """All pairs, in alphabetical order; those in folders come behind. Raises OSError for the root alone."""
    files, folders = _list(root)
    yield from _pairs_of("", files)
    for folder in sorted(folders):
        try:
            files, _ = _list(root / folder)
        except OSError:
            continue
        yield from _pairs_of(f"{folder}/", files)


def _list(folder: Path) -> tuple[dict[str, os.stat_result], list[str]]:
    files, folders = {}, []
    with os.scandir(folder) as found:
        for one in found:
            if one.name.startswith("."):
                continue
            try:
                if one.is_dir():
                    folders.append(one.name)
                elif one.is_file():
                    # Of what a link points to: that is what is replaced.
                    files[one.name] = one.stat()
            except OSError:
                continue
    return files, folders


def _pairs_of(folder: str, files: dict[str, os.stat_result]) -> Iterator[Pair]:
    for chain, key in sorted(pair_up(files).items()):
        one, other = files[chain], files[key]
        changed = max(one.st_mtime, one.st_ctime, other.st_mtime, other.st_ctime)
        yield Pair(folder, chain, key, _stamp(one, other), changed)


def pair_up(names: Collection[str]) -> dict[str, str]:
    """Which of the files in one folder are chains, and where each one's key is."""
    pairs: dict[str, str] = {}
    for name in names:
        if not name.lower().endswith(CHAIN_SUFFIXES) or name in COMMON_KEYS or name.endswith(("-key.pem", ".key.pem")):
            continue
        if name in PARTS and "fullchain.pem" in names:
            continue
        pairs[name] = next((key for key in _possible_keys(name) if key in names), name)
    return pairs


def _possible_keys(chain: str) -> tuple[str, ...]:
    stem = os.path.splitext(chain)[0]
    beside = f"{stem}.key", f"{stem}-key.pem", f"{stem}.key.pem"
    return (*COMMON_KEYS, *beside) if chain in COMMON_CHAINS else beside


def expected_key(chain: str) -> str:
    """What the key of this chain would be called, for people."""
    return _possible_keys(chain)[0]


def _stamp(chain: os.stat_result, key: os.stat_result) -> Stamp:
    """Differs when a file was written, replaced, or made readable."""
    return chain.st_ino, chain.st_size, chain.st_mtime_ns, chain.st_ctime_ns, key.st_ino, key.st_size, key.st_ctime_ns


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as problem:
        raise ConfigError(f"{path.name}: can't be read: {problem.strerror}") from None
    if len(content) > MAX_FILE:
        raise ConfigError(f"{path.name}: more than {MAX_FILE} bytes are no certificate")
    if content.count(b"-----BEGIN ") != content.count(b"-----END "):
        raise ConfigError(f"{path.name}: ends in the middle of a PEM block; is it still being written?")
    return content


# -- names ------------------------------------------------------------------------------------------------------------


def _make_index(entries: Collection[Entry]) -> Index:
    default: list[Identity] = []
    identities: list[Identity] = []
    by_name: dict[str, list[Identity]] = {}
    by_host: dict[str, list[Identity]] = {}
    for entry in entries:
        identity = entry.identity
        if identity is None:
            continue
        (default if entry.pair.host == "default" else identities).append(identity)
        by_host.setdefault(entry.pair.host, []).append(identity)
        for name in identity.names:
            by_name.setdefault(name, []).append(identity)
    named, hosts = _longest_first(by_name), _longest_first(by_host)
    first = tuple(default)
    if not first and identities:
        # With a twin that has another kind of key, for clients that can't verify the first.
        names = identities[0].names
        first = named[names[0]] if names else tuple(identities[:1])
    return Index(tuple(dict.fromkeys((*first, *identities))), named, hosts, first)


def _longest_first(found: dict[str, list[Identity]]) -> dict[str, tuple[Identity, ...]]:
    return {
        name: tuple(sorted(some, key=lambda one: one.certificates[0].not_valid_after_utc, reverse=True))
        for name, some in found.items()
    }


def _is_valid(identity: Identity, now: float) -> bool:
    leaf = identity.certificates[0]
    return leaf.not_valid_before_utc.timestamp() <= now <= leaf.not_valid_after_utc.timestamp()
