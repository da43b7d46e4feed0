"""Do the commands do what they say, to the bit, and say in one line what they cannot?"""
