"""The proof: the one room that knows the other three."""
