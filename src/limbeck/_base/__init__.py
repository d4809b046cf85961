"""What every other package stands on: errors, checks of arguments, atomic writes, progress, the
runtime of bundles.
"""
