"""Exact rewrites, one rule a file. `nstopt.graph.passes.PASSES` lists their order."""
