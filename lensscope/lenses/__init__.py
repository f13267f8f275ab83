"""Lenses: what reads a vector of the residual stream as a distribution over the vocabulary."""
