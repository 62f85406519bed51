"""The commands and what they need."""
