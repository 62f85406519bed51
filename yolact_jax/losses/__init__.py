"""The losses of YOLACT and YOLACT++."""
