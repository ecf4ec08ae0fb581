"""How fast is it, and next to what: ``python -m benchmarks`` (``--help`` for more).

And what a hostile peer costs: ``python -m benchmarks.adversarial``.

Everything is measured against its peers in one run, interleaved, and what counts is the median of the ratios of
neighbours in time: absolute figures depend on the machine and on its mood, ratios much less. ``report.py`` prints the
machine, all versions, and each ratio with the goal that was set for it and whether it was met.

A *subject* is a module of this package with a ``TITLE`` and a function ``measure(run: Run) -> list[Line]``; its name
stands in ``SUBJECTS`` of ``__main__.py``. :mod:`benchmarks.lines` says what a line is.

The same terms for all, where a title doesn't say otherwise: X25519, TLS_AES_128_GCM_SHA256, a P-256 certificate of a
P-256 authority that the client verifies, contexts made once, no session reuse, the garbage collector as Python sets it.

Not quite the same, and worth knowing when reading the figures: pyOpenSSL checks no host name, and can't keep an OpenSSL
server from sending two small tickets. The native engine remembers for some minutes which chains it has verified and how
it parsed their certificates; handshakes are therefore measured twice, once as they are when a client meets the same
server again, and once with nothing remembered. ``ssl`` and pyOpenSSL each come with an OpenSSL of their own; the report
says which.
"""
