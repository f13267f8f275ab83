"""At which layer can a lens read the token that the model will say?"""
