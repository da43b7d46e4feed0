"""How far may the output of any kind of layer be off?"""
