"""Intervals that cover, and the distributions that they stand on."""
