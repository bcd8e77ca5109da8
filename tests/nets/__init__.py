"""Tests of nstopt.nets."""
