"""All that knows TransformerLens and Hugging Face: loading, hooks, trials, tokens, the head."""
