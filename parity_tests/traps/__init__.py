"""What differs between Keras and PyTorch, and by how much?"""
