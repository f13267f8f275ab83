"""At which layer does a model know what a name is the name of?"""
