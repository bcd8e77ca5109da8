"""One exact rewrite a file. Their order is `nstopt.graph.passes.PASSES`."""
