"""Notifiers. A new one is one file here and one line in ``alerts/notifiers/registry.py``."""
