"""The teacher's answers on the disk: computed once, keyed by what produced them, checked when they
are read.
"""
