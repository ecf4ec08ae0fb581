"""Inputs that a machine makes up, run until something gives way: ``python -m fuzz TARGET --seconds N``.

The invariant, in one sentence: **whatever bytes arrive and in whatever order an engine is called, it gives what its
peer really said, or wants more, or ends with one TLSError that is no internal error and at most one alert, and is then
dead for good.** Each target says in its docstring which part of that it looks at.

A target is a function of bytes (``fuzz.targets``). It reads them as a program (:class:`fuzz.harness.Program`), plays it
against the real thing in memory, with all randomness and time decided, and raises when the invariant is broken; so one
input always does the same. Three things feed them:

* ``tests/test_fuzz_targets.py``: hypothesis, a bounded number of examples that are the same on every run;
* ``fuzz/corpus/TARGET``: small files with a history, replayed by the same tests. A finding is put there, and gets a
  test that says what was wrong in the layer where it was wrong;
* atheris, which follows the branches that an input takes: ``pip install -e .[fuzz]``, then ``python -m fuzz``.

The two engines, their applications and the wire between them are those of ``tests/conversation.py``.
"""
