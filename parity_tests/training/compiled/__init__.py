"""Does the compiled epoch compute what the eager one does, with no byte out of place?"""
