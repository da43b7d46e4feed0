"""Are the random numbers Keras's?"""
