"""How fast is it, and next to what: ``python -m benchmarks`` (``--help`` for more).

And what a hostile peer costs: ``python -m benchmarks.adversarial``.

Everything is measured in one process and one run, interleaved, and what counts is the median of the ratios of
neighbours in time: absolute figures depend on the machine and on its mood, ratios much less.

The same terms for all: X25519, TLS_AES_128_GCM_SHA256, a P-256 certificate of a P-256 authority that the client
verifies, memory on both sides and no sockets, contexts made once, the garbage collector as Python sets it.

Not quite the same, and worth knowing when reading the figures: pyOpenSSL checks no host name, and can't keep an OpenSSL
server from sending two small tickets. The native engine remembers how it parsed a certificate, and here every handshake
shows the same one; it verifies chain and signatures anew each time, as all do. ``ssl`` and pyOpenSSL each come with an
OpenSSL of their own; the report says which.
"""
