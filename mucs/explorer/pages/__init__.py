"""The pages: a function for each, which asks the ledger and says what is to be shown."""
