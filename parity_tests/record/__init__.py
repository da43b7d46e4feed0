"""How does it go without Keras?"""
