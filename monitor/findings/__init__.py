"""What ``./poliscope doctor`` looks at: one kind of check a file. All but ``database`` run without Django."""
