"""`python -m nstopt` is the `nstopt` command."""

from nstopt.cli import main

main()
