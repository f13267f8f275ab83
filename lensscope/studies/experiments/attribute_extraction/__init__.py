"""Does the state of a subject hold its object?"""
