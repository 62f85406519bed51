"""Models by name: their configs and their published weights."""
