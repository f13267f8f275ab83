"""Can one model say what the states of another one hold?"""
