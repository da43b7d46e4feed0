"""The same work done by both frameworks."""
