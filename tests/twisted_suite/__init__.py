"""Twisted's own tests of TLS, run with something of ours in the place of Twisted's.

    python -m twisted_suite --seam protocol
    python -m twisted_suite --seam lookalike twisted.protocols.test.test_tls

with ``tests`` on ``PYTHONPATH`` and ``twisted[test]`` installed. A *seam* is a module ``twisted_suite.seam_NAME`` with

``install()``
    puts ours in place, before the module with the tests is imported (:func:`twisted_suite.seam.replace`);
``KNOWN``
    the tests that fail with it, by their reason. A failure that isn't there is an error, and so is a test that is
    there and passes.

The seam ``stock`` changes nothing; what it knows to fail, fails because of the machine, and is known to every seam.
Every module with tests has a process of its own. What comes out is in ``docs/twisted_suite.md``.
"""
