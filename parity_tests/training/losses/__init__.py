"""Do losses and penalties agree, and what is reported of them?"""
