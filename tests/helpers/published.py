"""Numbers of the published models, for functions that have no defaults of their own."""

MATCHING = {"positive_iou": 0.5, "negative_iou": 0.4, "crowd_iou": 0.7}
THRESHOLDS = {"score_threshold": 0.05, "iou_threshold": 0.5}
NMS = {**THRESHOLDS, "top_k": 200, "max_detections": 100}
