"""How good is a reader?"""
