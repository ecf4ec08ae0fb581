"""After the handshake: application data, and the few messages that may still come (RFC 9846 sections 4.7 and 6).

Everything that arrived is decrypted at once and waits as plaintext; so what came before a fault or before the end of
the connection is still delivered, in order, and then the fault or the end.
"""

from __future__ import annotations

from typing import Any, Final

from tlsprovider.crypto.schedule import TrafficSecret, export
from tlsprovider.errors import AlertReceived, Fault, MisuseError, PeerFault
from tlsprovider.handshake.results import ApplicationSecrets, Established
from tlsprovider.handshake.steps import call_hook, decode_alert, tell, tell_alert
from tlsprovider.handshake.tickets import make_tickets, session_of
from tlsprovider.iana import AlertDescription, HandshakeType
from tlsprovider.record import APPLICATION_DATA, HANDSHAKE, MAX_PLAINTEXT, RecordReader, RecordWriter
from tlsprovider.wire.messages import KeyUpdate, NewSessionTicket

__all__ = ["Connected"]

# Each of these costs its receiver a key derivation or an allocation; a peer that sends so many in a row, with no
# application data between, only wants to keep us busy.
MAX_MESSAGES_WITHOUT_DATA: Final = 32
# Plaintext that waits is joined up to pieces of about this size.
SMALL_CHUNK: Final = 1024


class Connected:
    """Both directions of an established connection."""

    def __init__(
        self,
        established: Established,
        secrets: ApplicationSecrets,
        reader: RecordReader,
        writer: RecordWriter,
        config: Any,
        is_server: bool,
    ) -> None:
        self.established = established
        self.close_sent = False
        self.close_received = False
        # Plaintext that waits: pieces, how much of the first was taken, and what is left of all. No deque: it takes 600
        # bytes even when it is empty, and where wants_input is heeded only a few pieces ever wait.
        self.chunks: list[bytes] = []
        self.taken = 0
        self.pending = 0
        # Reset by every byte of data.
        self.messages_without_data = 0
        self._reader = reader
        self._writer = writer
        self._config = config
        self._is_server = is_server
        # Only the present generation is kept: an update takes the one before with it (section 7.2).
        self._read_secret: TrafficSecret | None = secrets.read
        self._write_secret: TrafficSecret | None = secrets.write
        self._exporter_secret = secrets.exporter
        self._resumption_secret = secrets.resumption
        # A server's go before its first application data.
        self._tickets_owed = is_server and bool(secrets.resumption)
        self.session = established.session
        self._update_requested = False
        self._update_owed = False

    def forget(self) -> None:
        """The connection has failed: its secrets go (section 6). What was decrypted can still be read."""
        self._read_secret = self._write_secret = None
        self._exporter_secret = self._resumption_secret = b""

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        """Section 7.5."""
        return export(self.established.suite, self._exporter_secret, label, context, length)

    # -- what arrives ----------------------------------------------------------------------------------------------

    def process(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes from the peer. Raises PeerFault or AlertReceived; plaintext that came before is kept."""
        reader = self._reader
        if self.close_received:
            reader.feed(data)
            return
        chunks: list[bytes] = []
        try:
            record = reader.read_application(data, chunks)
            while record is not None:
                self.keep(chunks)
                self._read_record(*record)
                if self.close_received:
                    return
                record = reader.read_application(b"", chunks)
        finally:
            self.keep(chunks)

    def keep(self, chunks: list[bytes]) -> None:
        waiting = self.chunks
        for chunk in chunks:
            if waiting and len(waiting[-1]) < SMALL_CHUNK > len(chunk):
                # An object for every byte would cost fifty times what the byte does, while nobody reads.
                waiting[-1] += chunk
            else:
                waiting.append(chunk)
            self.pending += len(chunk)
            self.messages_without_data = 0
        chunks.clear()

    def _read_record(self, content_type: int, content: bytes) -> None:
        if content_type == APPLICATION_DATA:
            self.keep([content])
        elif content_type == HANDSHAKE:
            self._reader.handshake.add(content)
            while (message := self._reader.handshake.next_message()) is not None:
                self._read_message(message)
        else:
            self._read_alert(content)

    def _read_message(self, message: bytes) -> None:
        kind = HandshakeType(message[0])
        tell(self._config, "message_received", kind.name, message)
        self.messages_without_data += 1
        if self.messages_without_data > MAX_MESSAGES_WITHOUT_DATA:
            raise PeerFault(Fault.TOO_MANY_MESSAGES, f"more than {MAX_MESSAGES_WITHOUT_DATA}")
        if kind is HandshakeType.key_update:
            self._read_key_update(KeyUpdate.decode(message))
        elif kind is HandshakeType.new_session_ticket and not self._is_server:
            self._read_new_session_ticket(NewSessionTicket.decode(message))
        else:
            raise PeerFault(Fault.UNEXPECTED_MESSAGE, f"{kind} after the handshake")

    def _read_key_update(self, message: KeyUpdate) -> None:
        """Section 4.7.3: a request is answered before our next data, and all that came while we were silent by one."""
        assert self._read_secret is not None, "nothing is read after a failure"
        self._read_secret = self._read_secret.successor()
        self._reader.change_keys(self._read_secret)
        self._update_requested = False
        tell(self._config, "key_update", "read")
        self._update_owed = self._update_owed or message.update_requested

    def _read_new_session_ticket(self, message: NewSessionTicket) -> None:
        """Section 4.7.1. A client that keeps no sessions ignores it."""
        if not self._resumption_secret:
            return
        session = session_of(message, self.established, self._resumption_secret, self._config)
        if session is None:
            return
        self.session = session
        key = self.established.session_key
        if key is not None:
            call_hook("sessions", lambda store: store.put(key, session), self._config.sessions)

    def _read_alert(self, content: bytes) -> None:
        alert = decode_alert(content)
        tell(self._config, "alert_received", alert.name, content)
        if alert is AlertDescription.close_notify:
            self.close_received = True
        elif alert is AlertDescription.user_canceled:
            # It says nothing that the close_notify behind it doesn't say (section 6.1); but it must not be a way to
            # keep us busy either.
            self.messages_without_data += 1
            if self.messages_without_data > MAX_MESSAGES_WITHOUT_DATA:
                raise PeerFault(Fault.TOO_MANY_MESSAGES, "user_canceled alerts")
        else:
            raise AlertReceived(alert)

    def take(self, most: int | None) -> bytes:
        """Plaintext, at most ``most`` bytes; only when ``pending`` says that there is some."""
        chunks, start = self.chunks, self.taken
        if len(chunks) == 1 and not start and (most is None or most >= self.pending):
            self.pending = 0
            return chunks.pop(0)
        if most is not None and most < len(chunks[0]) - start:
            # Small reads out of a large piece: its front stays where it is, or each read would copy all the rest.
            self.taken = start + most
            self.pending -= most
            return chunks[0][start : self.taken]
        self.taken = 0
        if start:
            chunks[0] = chunks[0][start:]
        if most is not None or len(chunks) == 1:
            data = chunks.pop(0)
        else:
            data = b"".join(chunks)
            chunks.clear()
        self.pending -= len(data)
        return data

    # -- what is sent ----------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Protect all of ``data``, changing keys on the way when the cipher's limit is near (section 5.5)."""
        if self.close_sent:
            raise MisuseError("the connection is closed for writing: shutdown() was called")
        if self._update_owed:
            self._send_key_update(KeyUpdate(False))
        if self._tickets_owed and data:
            self._send_tickets()
        length = len(data)
        writer = self._writer
        # One record is kept for the KeyUpdate itself.
        if 0 < length <= MAX_PLAINTEXT and writer.records_left > 1:
            writer.write_one(APPLICATION_DATA, data)
            return length
        if length <= (writer.records_left - 1) * MAX_PLAINTEXT:
            writer.write(APPLICATION_DATA, data)
            return length
        position = 0
        while position < length:
            if writer.records_left <= 1:
                self._send_key_update(KeyUpdate(False))
            room = (writer.records_left - 1) * MAX_PLAINTEXT
            writer.write(APPLICATION_DATA, data[position : position + room])
            position += room
        return length

    def _send_tickets(self) -> None:
        """Section 4.7.1. They wait for data of ours: a peer that only shakes hands doesn't expect more to read."""
        self._tickets_owed = False
        made = make_tickets(self.established, self._resumption_secret, self._config)
        messages: list[bytes] = call_hook("tickets", list, made)
        self._resumption_secret = b""
        for message in messages:
            tell(self._config, "message_sent", "new_session_ticket", message)
        self._writer.write(HANDSHAKE, b"".join(messages))

    def key_update(self, request_peer: bool) -> None:
        """Section 4.7.3. A second request waits for the answer to the first."""
        if self.close_sent:
            raise MisuseError("the connection is closed for writing: shutdown() was called")
        request = request_peer and not self._update_requested
        self._update_requested = self._update_requested or request
        self._send_key_update(KeyUpdate(request))

    def _send_key_update(self, message: KeyUpdate) -> None:
        self._update_owed = False
        encoded = message.encode()
        tell(self._config, "message_sent", "key_update", encoded)
        self._writer.write(HANDSHAKE, encoded)
        assert self._write_secret is not None, "nothing is sent after a failure"
        self._write_secret = self._write_secret.successor()
        self._writer.change_keys(self._write_secret)
        tell(self._config, "key_update", "write")

    def shutdown(self) -> None:
        """close_notify, once (section 6.1). Only this direction is closed."""
        if not self.close_sent:
            self.close_sent = True
            self._writer.write_alert(AlertDescription.close_notify)
            tell_alert(self._config, AlertDescription.close_notify)
