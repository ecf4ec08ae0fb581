"""BoringSSL's protocol test runner ("BoGo") against our engine.

The runner is a Go program with thousands of tests, each of which plays a peer that breaks one rule, or keeps it in an
unusual way. It starts a *shim* for each test and tells it by flags what to be and what to expect; the shim dials back
and speaks TLS with the implementation under test. This package is our shim. None of it comes from BoringSSL, and
neither the runner nor a way to build it is part of this project: its user brings one.

======================  ==============================================================================================
``flags``               the table of flags, and the settings that they make
``hooks``               the configuration's decisions, at once or late, and a record of what was seen
``configure``           settings to ClientConfig or ServerConfig
``link``                the socket and an engine, until the handshake is complete and afterwards
``expectations``        what the runner says must be true of a finished handshake
``shim``                one test: arguments in, exit code and one line about what went wrong out
``warm``                a process that has everything imported and forks for each test; ``stub`` is what the runner
                        starts in its place
``report``, ``areas``   what came out, as JSON and as the table in ``docs/conformance.md``
``run``                 ``PYTHONPATH=tests python -m bogo RUNNER``: all of it
``config.json``         for the runner: its names of errors in ours, and the tests left out, each with its reason
======================  ==============================================================================================
"""
