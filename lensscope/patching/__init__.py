"""Activation, attribution and path patching, causal tracing: what matters in a run."""
