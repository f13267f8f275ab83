"""The studies themselves, a folder each."""
