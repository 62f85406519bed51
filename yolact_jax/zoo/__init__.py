"""Trained models by name, from files of weights, and from runs."""
