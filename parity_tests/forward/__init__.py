"""Do the features, the model and its predictions agree?"""
