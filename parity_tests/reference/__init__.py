"""How is Keras asked?"""
