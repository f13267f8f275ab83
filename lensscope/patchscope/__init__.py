"""Patchscopes: states written into an inspection prompt, and read in words."""
