"""Would the suite notice?"""
