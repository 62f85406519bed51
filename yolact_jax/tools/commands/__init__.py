"""The commands, one file each, and `main`, which finds them by name."""
