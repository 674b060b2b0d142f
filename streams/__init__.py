"""From cameras to the log: frames, observations, capture and the one log contract."""
