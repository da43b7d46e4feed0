"""Are Keras's files read and written rightly?"""
