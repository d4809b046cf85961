"""The teacher's answers on disk: computed once, keyed by what produced them, checked when they are
read.
"""
