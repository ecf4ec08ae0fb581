"""The transcript hash: what was said so far, in order, whenever the hash became known."""

from __future__ import annotations

import hashlib

import pytest
from bounded import bounded
from hypothesis import given
from hypothesis import strategies as st

from tlsprovider.crypto.transcript import Transcript

HASHES = ["sha256", "sha384"]
MESSAGES = st.lists(st.binary(max_size=20), max_size=6)


def digest_of(hash_name: str, *messages: bytes) -> bytes:
    return hashlib.new(hash_name, b"".join(messages)).digest()


@bounded(100)
@given(before=MESSAGES, after=MESSAGES, hash_name=st.sampled_from(HASHES))
def test_hash_of_all_messages_whenever_it_started(before: list[bytes], after: list[bytes], hash_name: str) -> None:
    transcript = Transcript()
    for message in before:
        transcript.add(message)
    transcript.start(hash_name)
    assert transcript.digest() == digest_of(hash_name, *before)
    for message in after:
        transcript.add(message)
    assert transcript.digest() == digest_of(hash_name, *before, *after)


@bounded(60)
@given(hello=st.binary(max_size=40), after=MESSAGES, hash_name=st.sampled_from(HASHES))
def test_retry_replaces_the_first_hello_by_its_hash(hello: bytes, after: list[bytes], hash_name: str) -> None:
    """Section 4.1: a message of type 254 that holds Hash(ClientHello1)."""
    transcript = Transcript()
    transcript.add(hello)
    transcript.restart(hash_name)
    for message in after:
        transcript.add(message)
    first = digest_of(hash_name, hello)
    assert transcript.digest() == digest_of(hash_name, bytes([254, 0, 0, len(first)]), first, *after)


@pytest.mark.parametrize("hash_name", HASHES)
class TestTranscript:
    def test_reading_changes_nothing(self, hash_name: str) -> None:
        transcript = Transcript()
        transcript.start(hash_name)
        transcript.add(b"one")
        assert transcript.digest() == transcript.digest()
        transcript.add(b"two")
        assert transcript.digest() == digest_of(hash_name, b"one", b"two")

    def test_starting_again_changes_nothing(self, hash_name: str) -> None:
        transcript = Transcript()
        transcript.add(b"one")
        transcript.start(hash_name)
        transcript.add(b"two")
        transcript.start("sha512")
        assert transcript.digest() == digest_of(hash_name, b"one", b"two")

    def test_start_after_a_retry_changes_nothing(self, hash_name: str) -> None:
        transcript = Transcript()
        transcript.add(b"hello")
        transcript.restart(hash_name)
        before = transcript.digest()
        transcript.start(hash_name)
        assert transcript.digest() == before

    def test_nothing_waits_once_it_runs(self, hash_name: str) -> None:
        """Messages are hashed as they come; keeping them would be a copy of the whole handshake."""
        transcript = Transcript()
        transcript.add(b"one")
        transcript.start(hash_name)
        transcript.add(b"two")
        assert transcript._waiting == []

    def test_transcripts_are_apart(self, hash_name: str) -> None:
        one, two = Transcript(), Transcript()
        for transcript in (one, two):
            transcript.start(hash_name)
        one.add(b"x")
        assert two.digest() == digest_of(hash_name)


def test_reading_too_early_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="only after start"):
        Transcript().digest()
