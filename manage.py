#!/usr/bin/env python3
"""Django's command line for Poliscope."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "monitor.settings")
    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except ModuleNotFoundError as problem:
        from monitor.findings.python import remedy_of

        if not (remedy := remedy_of(problem.name or "")):
            raise
        sys.exit(f"poliscope: expected the module {problem.name}, got nothing; put its package in with: {remedy}")
