"""What does a person see who runs the report, and can each of its stages say no?"""
