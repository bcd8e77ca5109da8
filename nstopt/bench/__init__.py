"""Bench: engines → records → table. Every case is timed in a process of its own.

    cases.plan_cases      bundles, sizes, peers → cases, or an error that says what to build
    harness.run           cases → records, one by one, kept on disk as they come
    table.render          records → what the terminal shows
    startup.measure_startup   how light the command itself is
    layers.measure_layers     each layer of an engine beside its floor (roofline.py)

This file imports nothing: a timed process must hold no more than what it times.
"""
