"""Pure array functions: boxes, anchors, matching, NMS, masks."""
