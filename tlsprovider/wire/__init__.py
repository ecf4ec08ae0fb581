"""Bytes to values and back, in the words of the RFC's presentation language. No cryptography, no state."""
