"""Do raw rows become the right decisions, from one file and in every runtime?"""
