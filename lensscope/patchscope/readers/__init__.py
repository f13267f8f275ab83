"""Readers that were trained and published, and patchscopes that were saved: a file a format."""
