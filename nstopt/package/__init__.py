"""Packages engine bundles for servers; one format a module."""
