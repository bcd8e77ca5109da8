"""Training of style nets: losses, photographs, one module a system. Run it with python -m nstopt.train."""
