"""Circuits: the components that carry an effect, and how far they do it alone."""
