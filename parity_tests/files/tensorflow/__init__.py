"""TensorFlow's checkpoints and SavedModels, byte by byte."""
