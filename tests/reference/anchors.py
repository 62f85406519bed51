"""Anchors one at a time: level, row, column, scale, ratio."""

import math


def anchors(level_sizes, scales_px, aspect_ratios, input_size, square):
    rows = []
    for side, scales in zip(level_sizes, scales_px, strict=True):
        for j in range(side):
            for i in range(side):
                for scale in scales:
                    for ratio in aspect_ratios:
                        root = math.sqrt(ratio)
                        width = scale * root / input_size
                        height = width if square else scale / root / input_size
                        rows.append(((i + 0.5) / side, (j + 0.5) / side, width, height))
    return rows
