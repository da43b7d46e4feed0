"""Does the tutorial's own argument hold in both frameworks, step by step?"""
