"""trio's own tests of its TLS stream, with our TLS in them: ``PYTHONPATH=tests python -m trio_suite``.

The tests are those of the installed trio (``trio._tests``); nothing of them is here. They are run over two seams:

* ``context``: trio's ``SSLStream`` as it is, over an :class:`~tlsprovider.sslcontext.SSLContext`;
* ``stream``: :class:`tlsprovider.trio.drop_in.SSLStream` in the place of trio's.

In both with the provider ``native`` and with ``openssl``. A peer that the tests run with blocking sockets in a thread
is Python's own ``ssl``, with OpenSSL.

======================  ==============================================================================================
``expectations``        the tests that can't pass, each with its reason; all the others must
``plugin``              for pytest: puts our TLS into the tests before they are imported, and counts its use
``__main__``            all runs, and the tables of ``docs/trio_suite.md``
======================  ==============================================================================================
"""
