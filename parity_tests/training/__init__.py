"""Does training agree, step by step and in whole runs?"""
