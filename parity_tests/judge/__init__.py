"""What is allowed, and why?"""
