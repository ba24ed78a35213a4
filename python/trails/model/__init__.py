"""Networks over categorical tables."""
