"""Benchmarks: ``./poliscope bench NAME`` runs ``bench/NAME.py``."""
