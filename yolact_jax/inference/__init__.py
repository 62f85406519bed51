"""Runs a trained model on images."""
