"""Weight files on disk and on the Hugging Face hub, as plain NumPy state dicts."""
