"""Where a model loses: matches of detections with objects, and what errors cost."""
