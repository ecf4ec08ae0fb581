"""Who says what when: the handshake of RFC 9846 section 4 as a coroutine that is driven by hand."""
