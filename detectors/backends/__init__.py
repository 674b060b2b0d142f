"""Inference runtimes. A new one is one file here and one line in ``detectors/registry.py``."""
