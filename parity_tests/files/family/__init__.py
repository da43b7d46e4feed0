"""Are the neighbours of this network read, computed and trained as Keras does?"""
