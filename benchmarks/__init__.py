"""Side-by-side timings, each ratio within one process."""
