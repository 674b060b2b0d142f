"""Rule kinds. A new kind is one file here and one line in ``alerts/rules/registry.py``."""
