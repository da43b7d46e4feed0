"""Pages that need nothing but themselves: what training gave, and what a model is worth."""
