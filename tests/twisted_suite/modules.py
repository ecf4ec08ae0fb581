"""The modules of Twisted's test-suite in which TLS has a part."""

from __future__ import annotations

CORE = (
    "twisted.protocols.test.test_tls",
    "twisted.internet.test.test_tls",
    "twisted.internet.test.test_newtls",
    "twisted.test.test_ssl",
    "twisted.test.test_sslverify",
    "twisted.internet.test.test_endpoints",
)
"""TLS itself."""
USERS = (
    "twisted.web.test.test_agent",
    "twisted.web.test.test_http",
    "twisted.web.test.test_http2",
    "twisted.web.test.test_webclient",
    "twisted.web.test.test_websocket",
    "twisted.mail.test.test_smtp",
    "twisted.mail.test.test_imap",
    "twisted.mail.test.test_pop3",
    "twisted.mail.test.test_pop3client",
    "twisted.test.test_amp",
    "twisted.words.test.test_jabberxmlstream",
)
"""What is built on it."""
MODULES = CORE + USERS
