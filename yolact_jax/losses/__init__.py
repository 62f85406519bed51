"""The losses of YOLACT."""
