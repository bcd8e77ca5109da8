"""Measure engines and their peers. Every case is timed in a process of its own.

    session.py      one `nstopt bench`: builds what is missing, then runs all of the below
    cases.py        bundles, sizes and peers → cases, or an error that says what to build
    harness.py      cases → records, one by one
    process.py      the process that times a case, as its parent sees it; worker.py is the process itself
    stages.py       decoding and encoding a picture
    layer_times.py  each kernel of an engine beside its floor
    startup.py      time and memory until the command has made a first picture

This file imports nothing: a timed process must hold no more than what it times.
"""
