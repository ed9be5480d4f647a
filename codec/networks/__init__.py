"""The networks: transforms, gains and the integer-exact prior.

They do not depend on files, bytes or quality numbers.
"""
