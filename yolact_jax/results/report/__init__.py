"""One page, and tables, of everything that an evaluation measures."""
