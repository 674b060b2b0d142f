"""From frames to detections and tracks: backends, labels, batching, the detector worker."""
