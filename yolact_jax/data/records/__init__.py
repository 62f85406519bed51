"""Datasets as prepared array records."""
