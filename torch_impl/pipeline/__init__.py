"""From raw rows to decisions: the model, its threshold and its base rate, in one file."""
