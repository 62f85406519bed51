"""Detected objects as entries, numbers and pictures."""
