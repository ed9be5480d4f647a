"""The networks: transforms, gains and the integer-exact prior.

They know nothing about files, bytes or quality numbers.
"""
