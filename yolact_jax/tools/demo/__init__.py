"""A page of this machine in which a model finds objects in one's own files."""
