"""Can one patch make a model take the second step of a question after the first?"""
