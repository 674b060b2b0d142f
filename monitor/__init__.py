"""The Django project: settings, addresses, Celery and supervision. Wiring only; nobody imports it.

Empty on purpose: ``./poliscope doctor`` runs from here where nothing is installed yet.
"""
