"""Pictures, pages and tables, made of numbers and text alone."""
