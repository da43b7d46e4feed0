"""Are the checkout, its README and its rooms as they say?"""
