"""A real Valkey, started by the tests."""
