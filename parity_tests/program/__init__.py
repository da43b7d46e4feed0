"""What does a person see who runs it?"""
