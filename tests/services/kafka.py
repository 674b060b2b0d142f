"""A real Apache Kafka, started by the tests."""
