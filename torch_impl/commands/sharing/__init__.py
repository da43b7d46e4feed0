"""How processes share out the rows of a table, and what they make of them, in parts."""
