"""A page in which one assembles the masks of an image by hand."""
