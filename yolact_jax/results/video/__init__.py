"""Objects in videos: found, drawn and written side by side."""
