"""Do many processes write what one writes, each row once, and go on with what was stopped?"""
