"""The benchmarks' own judgement."""
