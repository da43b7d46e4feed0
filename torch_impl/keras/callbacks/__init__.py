"""What watches a run of `fit`, and sets its learning rate."""
