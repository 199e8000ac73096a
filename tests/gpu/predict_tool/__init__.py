"""Predicts a GPU's times from a ledger of what the program asks of the driver."""
