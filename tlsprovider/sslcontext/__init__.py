"""TLS for code that was written for Python's :mod:`ssl`."""

from __future__ import annotations

from tlsprovider.sslcontext.view import SSLObject, ssl_object_of

__all__ = ["SSLObject", "ssl_object_of"]
