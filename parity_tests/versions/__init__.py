"""Which versions was it run with?"""
