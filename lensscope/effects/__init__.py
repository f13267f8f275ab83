"""What patching and circuits share: metrics, grids, pairs, estimates, senders and receivers."""
