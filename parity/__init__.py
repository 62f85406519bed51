"""Comparison with numbers recorded from the original PyTorch implementation."""
