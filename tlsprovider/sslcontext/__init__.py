"""TLS for code that was written for Python's :mod:`ssl`: an ``ssl.SSLContext`` whose connections are tlsprovider's.

:class:`SSLContext` takes the place of ``ssl.SSLContext``, :func:`create_default_context` of the function of that name,
and :func:`context_for` makes one of a configuration. :mod:`tlsprovider.sslcontext.context` tells how it works.
"""

from __future__ import annotations

from tlsprovider.sslcontext.context import SSLContext, context_for, create_default_context
from tlsprovider.sslcontext.view import SSLObject, SSLSocket, ssl_object_of

__all__ = ["SSLContext", "SSLObject", "SSLSocket", "context_for", "create_default_context", "ssl_object_of"]
