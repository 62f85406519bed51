"""Folders of one's own pictures, in any usual layout; `prepare` is the door."""
