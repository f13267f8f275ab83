"""The nouns: sites and patches, positions, operations, transforms, prompts, the cache."""
