"""Prepared datasets as array records."""
