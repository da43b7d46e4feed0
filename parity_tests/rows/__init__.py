"""Are the rows read and prepared rightly?"""
