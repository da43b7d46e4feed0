"""Do the pages of `train` and `evaluate` show what is so, on any screen?"""
