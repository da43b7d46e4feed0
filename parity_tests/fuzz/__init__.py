"""What do strangers' files do?"""
