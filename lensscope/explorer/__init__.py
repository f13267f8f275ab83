"""The explorer: a model's states in words, lenses and patches, in a browser, a notebook, a file."""
