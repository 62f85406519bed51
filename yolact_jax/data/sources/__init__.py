"""Where annotated images come from."""
